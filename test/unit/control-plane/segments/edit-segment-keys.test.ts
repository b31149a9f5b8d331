import type { Chunks, EditedKeys } from '@guidon/control-plane/segments/edit-segment-keys.js';
import { chunksOf, editSegmentKeys, replaceSegmentKeys } from '@guidon/control-plane/segments/edit-segment-keys.js';
import { checkFlagSet, definitionKey, type SegmentKeysDefinition } from '@guidon/engine';
import { LIMITS, PlatformError } from '@guidon/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

const LIST = { segment: 's', list: 'included', contextKind: 'user' } as const;
const NONE: Chunks = new Map();
const numbered = (count: number, prefix = 'k'): string[] =>
  Array.from({ length: count }, (_, index) => `${prefix}${index}`);

/** What a node has after the definitions of an edit, when it had `before`. */
function shipped(before: Chunks, { definitions }: EditedKeys): Map<string, SegmentKeysDefinition> {
  const chunks = new Map(before);
  for (const change of definitions) {
    if ('remove' in change) expect(chunks.delete(change.remove.key)).toBe(true);
    else if (change.put.kind === 'segment-keys') chunks.set(definitionKey(change.put), change.put);
  }
  return chunks;
}

function keysIn(chunks: Chunks): string[] {
  return [...chunks.values()].flatMap(({ keys }) => keys).sort();
}

function assertSound(chunks: Chunks): void {
  const segment = { kind: 'segment', key: 's', rules: [], salt: 'x', requires: [] } as const;
  expect(checkFlagSet({ flags: new Map(), segments: new Map([['s', segment]]), segmentKeys: chunks })).toEqual([]);
}

describe('editSegmentKeys()', () => {
  it('ships exactly what makes the old list the new one, whatever is added and removed', () => {
    const key = fc.integer({ min: 0, max: 9_999 }).map((number) => `k${number}`);
    const edits = fc.array(
      fc.record({ add: fc.array(key, { maxLength: 3_000 }), remove: fc.array(key, { maxLength: 3_000 }) }),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(edits, (steps) => {
        let chunks: Chunks = NONE;
        const expected = new Set<string>();
        for (const { add, remove } of steps) {
          const before = expected.size;
          const removed = new Set(remove.filter((each) => expected.delete(each))).size;
          for (const each of add) expected.add(each);
          const edited = editSegmentKeys(LIST, chunks, { add, remove }, '');
          expect(edited.removedCount).toBe(removed);
          expect(edited.addedCount).toBe(expected.size - before + removed);
          expect(edited.count).toBe(expected.size);
          const next = shipped(chunks, edited);
          expect(next).toEqual(edited.chunks);
          expect(keysIn(next)).toEqual([...expected].sort());
          assertSound(next);
          chunks = next;
        }
      }),
      { numRuns: 30 },
    );
  });

  it('ships one chunk for one key more, and nothing for a key that is there', () => {
    const { chunks } = editSegmentKeys(LIST, NONE, { add: numbered(20_000), remove: [] }, '');
    expect(editSegmentKeys(LIST, chunks, { add: ['one more'], remove: [] }, '').definitions).toHaveLength(1);
    expect(editSegmentKeys(LIST, chunks, { add: ['k7'], remove: ['absent'] }, '').definitions).toEqual([]);
  });

  it('refuses more keys than a segment may have at the pointer given', () => {
    const { chunks } = editSegmentKeys(LIST, NONE, { add: numbered(LIMITS.segmentKeys), remove: [] }, '');
    const add = () => editSegmentKeys(LIST, chunks, { add: ['one more'], remove: [] }, '/changes/3');
    expect(add).toThrow(PlatformError);
    expect(add).toThrow(
      expect.objectContaining({ issues: [expect.objectContaining({ pointer: '/changes/3', code: 'limit-exceeded' })] }),
    );
    expect(editSegmentKeys(LIST, chunks, { add: ['one more'], remove: ['k0'] }, '').count).toBe(LIMITS.segmentKeys);
  });
});

describe('replaceSegmentKeys()', () => {
  it('makes the list exactly what is given and counts what came and went', () => {
    const { chunks } = editSegmentKeys(LIST, NONE, { add: numbered(10_000), remove: [] }, '');
    const kept = numbered(9_000);
    const edited = replaceSegmentKeys(LIST, chunks, [...kept, 'new', 'new'], '');
    expect([edited.addedCount, edited.removedCount, edited.count]).toEqual([1, 1_000, 9_001]);
    const next = shipped(chunks, edited);
    expect(keysIn(next)).toEqual([...kept, 'new'].sort());
    assertSound(next);
    expect(shipped(next, replaceSegmentKeys(LIST, next, [], '')).size).toBe(0);
  });
});

describe('chunksOf()', () => {
  it('takes the chunks of one list alone', () => {
    const lists = [
      LIST,
      { ...LIST, list: 'excluded' },
      { ...LIST, contextKind: 'a/b' },
      { ...LIST, segment: 't' },
    ] as const;
    const all = lists.flatMap((list) => [
      ...editSegmentKeys(list, NONE, { add: ['k'], remove: [] }, '').chunks.values(),
    ]);
    for (const list of lists) expect([...chunksOf(list, all).values()]).toMatchObject([list]);
  });
});
