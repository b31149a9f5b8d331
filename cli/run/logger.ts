import { type Logger, type LoggerOptions, pino } from 'pino';

const SECRET_NAMES = [
  'authorization',
  'clientSecret',
  'cookie',
  'nodeCredential',
  'password',
  'secret',
  'set-cookie',
  'token',
  'x-api-key',
];

/** What is secret by its name is replaced, down to the third level. Nothing logs headers, bodies or URLs as they are; this is the second line. */
export const LOG_OPTIONS: LoggerOptions = {
  base: null,
  redact: ['', '*.', '*.*.'].flatMap((level) => SECRET_NAMES.map((name) => pathOf(level, name))),
  timestamp: pino.stdTimeFunctions.isoTime,
};

/** Structured lines on stderr, so that stdout holds what a person asked for. */
export function createLogger(level: string): Logger {
  return pino({ ...LOG_OPTIONS, level }, pino.destination(2));
}

/** As pino's paths are written: a name with a hyphen stands in brackets. */
function pathOf(level: string, name: string): string {
  return name.includes('-') ? `${level.replace(/\.$/, '')}["${name}"]` : `${level}${name}`;
}
