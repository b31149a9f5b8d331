import {
  addSegmentKeys,
  definitionKey,
  removeSegmentKeys,
  type SegmentKeyList,
  type SegmentKeysChange,
  type SegmentKeysDefinition,
} from '@guidon/engine';
import type { DefinitionChange } from '../commit/change.js';
import { below, refusal } from '../flags/flag-input.js';

/** The chunks of one list by their definition key. */
export type Chunks = ReadonlyMap<string, SegmentKeysDefinition>;

export interface EditedKeys {
  readonly chunks: Chunks;
  readonly definitions: readonly DefinitionChange[];
  /** Keys that were not there before, and that were. */
  readonly addedCount: number;
  readonly removedCount: number;
  /** Keys in the list now. */
  readonly count: number;
}

export function chunksOf(list: SegmentKeyList, all: Iterable<SegmentKeysDefinition>): Chunks {
  const chunks = new Map<string, SegmentKeysDefinition>();
  for (const chunk of all) {
    const isOfList =
      chunk.segment === list.segment && chunk.list === list.list && chunk.contextKind === list.contextKind;
    if (isOfList) chunks.set(definitionKey(chunk), chunk);
  }
  return chunks;
}

/** Takes `remove` out and puts `add` in; both have passed `parseTargetingKeys`. Issues point at `pointer`. */
export function editSegmentKeys(
  list: SegmentKeyList,
  before: Chunks,
  edit: { readonly add: Iterable<string>; readonly remove: Iterable<string> },
  pointer: string,
): EditedKeys {
  const removed = removeSegmentKeys(list, before.values(), edit.remove);
  const without = applied(before, removed);
  const added = addSegmentKeys(list, without.values(), edit.add);
  if (!added.ok) throw refusal(below(pointer, added.issues));
  const chunks = applied(without, added.value);
  return resultOf(before, chunks, { addedCount: added.value.keyCount, removedCount: removed.keyCount });
}

/** The list holds exactly `keys` from now on. */
export function replaceSegmentKeys(
  list: SegmentKeyList,
  before: Chunks,
  keys: Iterable<string>,
  pointer: string,
): EditedKeys {
  const added = addSegmentKeys(list, [], keys);
  if (!added.ok) throw refusal(below(pointer, added.issues));
  const chunks = applied(new Map(), added.value);
  const old = new Set<string>();
  for (const chunk of before.values()) for (const key of chunk.keys) old.add(key);
  let keptCount = 0;
  for (const chunk of chunks.values()) for (const key of chunk.keys) if (old.has(key)) keptCount += 1;
  return resultOf(before, chunks, {
    addedCount: added.value.keyCount - keptCount,
    removedCount: old.size - keptCount,
  });
}

function applied(chunks: Chunks, change: SegmentKeysChange): Chunks {
  const next = new Map(chunks);
  for (const chunk of change.removed) next.delete(definitionKey(chunk));
  for (const chunk of change.changed) next.set(definitionKey(chunk), chunk);
  return next;
}

function resultOf(
  before: Chunks,
  chunks: Chunks,
  counts: { readonly addedCount: number; readonly removedCount: number },
): EditedKeys {
  const definitions: DefinitionChange[] = [];
  let count = 0;
  for (const [key, chunk] of chunks) {
    count += chunk.keys.length;
    if (before.get(key) !== chunk) definitions.push({ put: chunk });
  }
  for (const key of before.keys()) {
    if (!chunks.has(key)) definitions.push({ remove: { kind: 'segment-keys', key } });
  }
  return { chunks, definitions, ...counts, count };
}
