import { type Logger, pino } from 'pino';

/** Structured lines on stderr, so that stdout holds what a person asked for. Header values and secrets are never logged in clear. */
export function createLogger(level: string): Logger {
  const redact = ['*.authorization', '*.token', '*.secret', 'authorization', 'token', 'secret', 'nodeCredential'];
  return pino({ level, base: null, redact, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination(2));
}
