import {
  type Definition,
  definitionKey,
  type FlagDefinition,
  type FlagSet,
  type SegmentDefinition,
  type SegmentKeysDefinition,
} from '@guidon/engine';

export function flagSetOf(definitions: Iterable<Definition>): FlagSet {
  const flags = new Map<string, FlagDefinition>();
  const segments = new Map<string, SegmentDefinition>();
  const segmentKeys = new Map<string, SegmentKeysDefinition>();
  for (const definition of definitions) {
    if (definition.kind === 'flag') flags.set(definition.key, definition);
    else if (definition.kind === 'segment') segments.set(definition.key, definition);
    else segmentKeys.set(definitionKey(definition), definition);
  }
  return { flags, segments, segmentKeys };
}

/** A string flag with the variations yes, no and off (each its own value) that serves `no` to everybody. */
export function aFlag(key: string, changes: Partial<FlagDefinition> = {}): FlagDefinition {
  return {
    kind: 'flag',
    key,
    type: 'string',
    clientSide: false,
    variations: ['yes', 'no', 'off'].map((name) => ({ key: name, value: name })),
    on: true,
    offVariation: 'off',
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: 'no' },
    salt: 'salt',
    requires: [],
    ...changes,
  };
}

export function aSegment(key: string, changes: Partial<SegmentDefinition> = {}): SegmentDefinition {
  return { kind: 'segment', key, rules: [], salt: 'seg-salt', requires: [], ...changes };
}

/** The only chunk of a small list. */
export function aChunk(
  segment: string,
  list: SegmentKeysDefinition['list'],
  keys: readonly string[],
  contextKind = 'user',
): SegmentKeysDefinition {
  return { kind: 'segment-keys', segment, list, contextKind, prefix: '', keys };
}
