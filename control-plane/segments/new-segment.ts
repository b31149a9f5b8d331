import { definitionKey, type SegmentKeysDefinition } from '@guidon/engine';
import { ulid } from 'ulid';
import type { DefinitionChange } from '../commit/change.js';
import { generateSalt } from '../flags/flag-record.js';
import { editSegmentKeys } from './edit-segment-keys.js';
import { checkKeyLists, checkSegmentRules, type SegmentCreate } from './segment-input.js';
import { type KeyCount, type SegmentRecord, segmentDefinitionOf, withKeyCount } from './segment-record.js';

/** A segment with its first keys. `version` goes on where a deleted segment of this key ended. */
export function newSegment(
  body: SegmentCreate,
  version: number,
  now: number,
): { segment: SegmentRecord; definitions: DefinitionChange[] } {
  const { key, name = key, description = '', tags = [] } = body;
  const lists = checkKeyLists(body).map((list) => {
    const edit = { add: list.keys, remove: [] };
    return { ...list, edited: editSegmentKeys({ ...list, segment: key }, new Map(), edit, `/${list.list}`) };
  });
  const segment: SegmentRecord = {
    version,
    id: `seg_${ulid()}`,
    key,
    name,
    description,
    tags,
    rules: checkSegmentRules(body.rules ?? [], '/rules'),
    keyCounts: lists.reduce<KeyCount[]>(
      (counts, { list, contextKind, edited }) => withKeyCount(counts, { list, contextKind, count: edited.count }),
      [],
    ),
    salt: generateSalt(),
    archivedAt: null,
    createdAt: now,
    updatedAt: now,
  };
  const chunks = lists.flatMap(({ edited }) => edited.definitions);
  return { segment, definitions: [{ put: segmentDefinitionOf(segment) }, ...chunks] };
}

/** What takes a segment and its chunks out of what is served. */
export function removals(segmentKey: string, chunks: readonly SegmentKeysDefinition[]): DefinitionChange[] {
  return [
    { remove: { kind: 'segment', key: segmentKey } },
    ...chunks.map((chunk): DefinitionChange => ({ remove: { kind: 'segment-keys', key: definitionKey(chunk) } })),
  ];
}
