import { checkFlagSet, type Definition, definitionKey, type FlagSet, parseDefinition } from '@guidon/engine/in-process';
import { type Issue, type Json, PlatformError } from '@guidon/protocol';

/**
 * Flags that the program brings itself: for tests, files and the time before the first configuration. `values`: flags that are worth the same for
 * everybody. `definitions`: flags and segments as the platform has them; they win over `values`.
 */
export interface LocalConfig {
  readonly values?: Readonly<Record<string, Json>>;
  readonly definitions?: readonly unknown[];
}

const VARIATION = 'value';

/** Definitions that say the same as in `previous` are the same objects. Throws `validation-failed` with everything that is wrong. */
export function parseLocalConfig({ values = {}, definitions = [] }: LocalConfig, previous?: FlagSet): FlagSet {
  const issues: Issue[] = [];
  const parsed: Definition[] = [];
  const parse = (value: unknown, pointer: string): void => {
    const result = parseDefinition(value);
    if (result.ok) parsed.push(sameAs(result.value, previous));
    else for (const issue of result.issues) issues.push({ ...issue, pointer: `${pointer}${issue.pointer}` });
  };
  for (const [key, value] of Object.entries(values)) parse(flagOfValue(key, value), `/values/${key}`);
  for (const [index, definition] of definitions.entries()) parse(definition, `/definitions/${index}`);
  const flagSet: FlagSet = {
    flags: new Map(parsed.flatMap((item) => (item.kind === 'flag' ? [[item.key, item]] : []))),
    segments: new Map(parsed.flatMap((item) => (item.kind === 'segment' ? [[item.key, item]] : []))),
    segmentKeys: new Map(parsed.flatMap((item) => (item.kind === 'segment-keys' ? [[definitionKey(item), item]] : []))),
  };
  issues.push(...checkFlagSet(flagSet));
  if (issues.length === 0) return flagSet;
  const [first] = issues;
  throw new PlatformError('validation-failed', `local flags: ${first?.pointer} ${first?.detail}`, { issues });
}

/** Reads `{values?, definitions?}` of JSON. Throws like parseLocalConfig. */
export function localConfigOf(value: unknown): LocalConfig {
  const members = new Map<string, unknown>(typeof value === 'object' && value !== null ? Object.entries(value) : []);
  const values = members.get('values') ?? {};
  const definitions = members.get('definitions') ?? [];
  const isKnown = [...members.keys()].every((name) => ['values', 'definitions', '$schema'].includes(name));
  if (
    members.size === 0 ||
    !isKnown ||
    typeof values !== 'object' ||
    Array.isArray(values) ||
    !Array.isArray(definitions)
  )
    throw new PlatformError(
      'validation-failed',
      'local flags: {values?: {key: value}, definitions?: [definition]} is expected',
    );
  return { values: { ...values }, definitions };
}

function sameAs(definition: Definition, previous: FlagSet | undefined): Definition {
  const known = {
    flag: previous?.flags,
    segment: previous?.segments,
    'segment-keys': previous?.segmentKeys,
  }[definition.kind]?.get(definitionKey(definition));
  return known !== undefined && JSON.stringify(known) === JSON.stringify(definition) ? known : definition;
}

/** On, worth `value` for everybody: reason STATIC. */
function flagOfValue(key: string, value: Json): unknown {
  const isBoolean = typeof value === 'boolean';
  const type = typeof value === 'object' ? 'json' : typeof value;
  return {
    kind: 'flag',
    key,
    type,
    clientSide: true,
    variations: isBoolean
      ? [
          { key: 'on', value: true },
          { key: 'off', value: false },
        ]
      : [{ key: VARIATION, value }],
    on: true,
    offVariation: isBoolean ? 'off' : VARIATION,
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: isBoolean ? (value ? 'on' : 'off') : VARIATION },
    salt: 'local',
    requires: [],
  };
}
