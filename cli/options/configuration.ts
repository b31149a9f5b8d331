import { readFileSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';
import { type Command, CommanderError, InvalidArgumentError, Option } from 'commander';

/** Beyond this it is no configuration. */
const FILE_BYTES_MAX = 1024 * 1024;
/** Options that are about the configuration, and no part of it. */
const META: ReadonlySet<string> = new Set(['config', 'print-config', 'help', 'version']);
const SECRET_NAME = /(^|-)(secret|password|token)$/;
/** What a value may hold in clear although its option is none for secrets: credentials in a URL, and our own tokens. */
const SECRET_TEXT = /(?<=:\/\/)[^/@\s]+(?=@)|gdn_[a-z]+_[A-Za-z0-9_-]+/g;

/**
 * Gives a command `--config` and `--print-config`. Each option is taken from its flag, else from its variable, else from the file, else it has its
 * default. Call it when all options are there.
 */
export function configurable(command: Command): void {
  // Commander looks before the file is read; here it is looked when all of it is known.
  const needed = command.options.filter(({ mandatory }) => mandatory);
  for (const option of needed) option.mandatory = false;
  command
    .addOption(new Option('--config <file>', 'JSON: {"port": 4300, …}, options by name').env('GUIDON_CONFIG'))
    .addOption(new Option('--print-config', 'print every option with where it came from, and end'))
    .hook('preAction', () => {
      const { config: file, printConfig }: { config?: string; printConfig?: boolean } = command.opts();
      if (file !== undefined) applyFile(command, file);
      if (printConfig === true) {
        console.log(JSON.stringify(describeConfiguration(command), null, 2));
        throw new CommanderError(0, 'commander.printConfig', '');
      }
      for (const option of needed) {
        if (command.getOptionValue(option.attributeName()) !== undefined) continue;
        command.error(`error: required option '${option.flags}' not specified`, {
          code: 'commander.missingMandatoryOptionValue',
        });
      }
    });
}

function applyFile(command: Command, file: string): void {
  const options = new Map(configuredOptions(command).map((option) => [option.name(), option]));
  for (const [name, value] of Object.entries(readJsonObject(file))) {
    const pointer = `/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
    const option = options.get(name);
    if (option === undefined) {
      const known = [...options.keys()].sort().join(', ');
      throw refusal(`${file}: ${pointer} is no option of ${command.name()}; there are ${known}`);
    }
    const key = option.attributeName();
    const source = command.getOptionValueSource(key);
    const parsed = parseValue(option, value, `${file}: ${pointer}`);
    if (source === undefined || source === 'default') command.setOptionValueWithSource(key, parsed, 'config');
  }
}

/** As the same text after the flag would be taken: a file is held to the same rules. */
function parseValue(option: Option, value: unknown, place: string): unknown {
  if (option.isBoolean()) {
    if (typeof value === 'boolean') return value !== option.negate;
    throw refusal(`${place} must be true or false`);
  }
  const isList = option.variadic && Array.isArray(value) && value.every((item) => typeof item === 'string');
  const isScalar = typeof value === 'string' || typeof value === 'number';
  if (!isScalar && !isList && (typeof value !== 'object' || value === null || Array.isArray(value))) {
    throw refusal(`${place} must be ${option.variadic ? 'a list of texts' : 'a text or a number'}`);
  }
  const text = isScalar ? String(value) : isList ? value.join(',') : JSON.stringify(value);
  if (option.parseArg === undefined) return text;
  try {
    // Commander's own types say that a parser returns what the option holds, whatever that is.
    const parsed: unknown = option.parseArg(text, undefined);
    return parsed;
  } catch (error) {
    if (error instanceof InvalidArgumentError) throw refusal(`${place}: ${error.message}`);
    throw error;
  }
}

interface DescribedOption {
  /** Null: not given, and without a default. */
  readonly value: unknown;
  readonly from: string;
}

function describeConfiguration(command: Command): Record<string, DescribedOption> {
  const file = String(command.getOptionValue('config'));
  const described = configuredOptions(command).map((option): [string, DescribedOption] => {
    const key = option.attributeName();
    const held: unknown = command.getOptionValue(key);
    const value = option.negate ? held === false : held;
    const places: Readonly<Record<string, string>> = {
      cli: `flag ${option.long}`,
      env: `variable ${option.envVar}`,
      config: `file ${file}`,
    };
    const from = places[command.getOptionValueSource(key) ?? ''] ?? (value === undefined ? 'not given' : 'default');
    return [option.name(), { value: maskSecrets(option.name(), value) ?? null, from }];
  });
  return Object.fromEntries(described);
}

function maskSecrets(name: string, value: unknown): unknown {
  if (value === undefined) return undefined;
  if (SECRET_NAME.test(name)) return '***';
  if (Array.isArray(value)) return value.map((item) => maskSecrets(name, item));
  return typeof value === 'string' ? value.replace(SECRET_TEXT, '***') : value;
}

function configuredOptions(command: Command): Option[] {
  return command.options.filter((option) => !META.has(option.name()));
}

function readJsonObject(file: string): object {
  let bytes: Buffer;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw refusal(`--config: ${file} cannot be read (${code}): give the path of a JSON file`, cause);
  }
  if (bytes.length > FILE_BYTES_MAX) throw refusal(`--config: ${file} is longer than ${FILE_BYTES_MAX} bytes`);
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : 'malformed';
    throw refusal(`--config: ${file} is no JSON: ${reason}`, cause);
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw refusal(`--config: ${file} must hold one JSON object such as {"port": 4300}`);
  }
  return value;
}

function refusal(detail: string, cause?: unknown): PlatformError {
  return new PlatformError('validation-failed', detail, cause === undefined ? {} : { cause });
}
