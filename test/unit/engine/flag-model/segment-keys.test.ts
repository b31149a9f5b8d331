import {
  addSegmentKeys,
  checkFlagSet,
  chunkSegmentKeys,
  definitionKey,
  hashText,
  parseDefinition,
  removeSegmentKeys,
  type SegmentKeysChange,
  type SegmentKeysDefinition,
} from '@guidon/engine';
import { LIMITS } from '@guidon/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aSegment, flagSetOf } from '../../../support/flag-sets.js';

const LIST = { segment: 's', list: 'included', contextKind: 'user' } as const;
type Chunks = ReadonlyMap<string, SegmentKeysDefinition>;

function apply(chunks: Chunks, change: SegmentKeysChange): Chunks {
  const next = new Map(chunks);
  for (const chunk of change.removed) next.delete(definitionKey(chunk));
  for (const chunk of change.changed) next.set(definitionKey(chunk), chunk);
  return next;
}

function added(chunks: Chunks, keys: readonly string[]): { change: SegmentKeysChange; chunks: Chunks } {
  const parsed = addSegmentKeys(LIST, chunks.values(), keys);
  if (!parsed.ok) throw new Error(parsed.issues[0]?.detail);
  return { change: parsed.value, chunks: apply(chunks, parsed.value) };
}

function keysOf(chunks: Chunks): string[] {
  return [...chunks.values()].flatMap((chunk) => chunk.keys).sort();
}

/** What every node checks before it serves these chunks. */
function issuesOf(chunks: Chunks): unknown[] {
  const refused = [...chunks.values()].map(parseDefinition).flatMap((parsed) => (parsed.ok ? [] : parsed.issues));
  return [...refused, ...checkFlagSet(flagSetOf([aSegment('s'), ...chunks.values()]))];
}

const users = (from: number, to: number): string[] =>
  Array.from({ length: to - from }, (_, index) => `user-${from + index}`);

describe('chunkSegmentKeys()', () => {
  it('makes one chunk of a small list, sorted and without repeated keys', () => {
    expect(chunkSegmentKeys(LIST, ['b', '🌍', '\ufffd', 'a', 'b'])).toEqual({
      ok: true,
      value: [{ kind: 'segment-keys', ...LIST, prefix: '', keys: ['a', 'b', '\ufffd', '🌍'] }],
    });
  });

  it('makes no chunk of no keys', () => {
    expect(chunkSegmentKeys(LIST, [])).toEqual({ ok: true, value: [] });
  });

  it('splits at 4 097 keys', () => {
    const atLimit = chunkSegmentKeys(LIST, users(0, 4_096));
    expect(atLimit.ok && atLimit.value.map((chunk) => chunk.prefix)).toEqual(['']);
    const over = chunkSegmentKeys(LIST, users(0, 4_097));
    expect(over.ok && over.value.map((chunk) => chunk.prefix)).toEqual(['0', '1']);
  });

  it('chunks 1 000 000 keys into chunks that a node accepts', () => {
    const parsed = chunkSegmentKeys(LIST, users(0, 1_000_000));
    const chunks = new Map(parsed.ok ? parsed.value.map((chunk) => [definitionKey(chunk), chunk]) : []);
    expect([...chunks.values()].reduce((count, chunk) => count + chunk.keys.length, 0)).toBe(1_000_000);
    expect(chunks.size).toBeLessThan(600);
    expect(issuesOf(chunks)).toEqual([]);
    const { change } = added(new Map([...chunks].slice(1)), ['one more']);
    expect([change.changed.length, change.removed.length]).toEqual([1, 0]);
    const more = addSegmentKeys(LIST, chunks.values(), ['one more']);
    expect(more.ok ? [] : more.issues.map((issue) => issue.code)).toEqual(['limit-exceeded']);
  });

  it('refuses more keys with one hash than a chunk holds: a trie over hashes cannot tell them apart', () => {
    const keys = collidingKeys(4_097);
    expect(new Set(keys.map(hashText)).size).toBe(1);
    const fits = chunkSegmentKeys(LIST, [...keys.slice(1), ...users(0, 100)]);
    const chunks = new Map(fits.ok ? fits.value.map((chunk) => [definitionKey(chunk), chunk]) : []);
    expect(keysOf(chunks)).toHaveLength(4_196);
    expect(issuesOf(chunks)).toEqual([]);
    for (const parsed of [chunkSegmentKeys(LIST, keys), addSegmentKeys(LIST, chunks.values(), keys)]) {
      expect(parsed.ok ? [] : parsed.issues.map((issue) => issue.code)).toEqual(['limit-exceeded']);
    }
  });
});

/**
 * Keys of eight ASCII characters with one hash. Each block of murmur3 can be undone, so for any first four bytes there is one second
 * block that leads to the wanted state; those that are ASCII are taken.
 */
function collidingKeys(count: number): string[] {
  const inverse = (odd: number): number => {
    let result = odd;
    for (let round = 0; round < 5; round++) result = Math.imul(result, 2 - Math.imul(odd, result));
    return result;
  };
  const rotate = (value: number, by: number): number => (value << by) | (value >>> (32 - by));
  const mix = (block: number): number => Math.imul(rotate(Math.imul(block, 0xcc9e2d51), 15), 0x1b873593);
  const unmix = (mixed: number): number =>
    Math.imul(rotate(Math.imul(mixed, inverse(0x1b873593)), 17), inverse(0xcc9e2d51));
  const wanted = rotate(Math.imul(-0xe6546b64, inverse(5)), 19); // leads to the state 0
  const keys: string[] = [];
  for (let index = 0; keys.length < count; index++) {
    const first = Buffer.from(index.toString(36).padStart(4, '0'));
    const state = Math.imul(rotate(mix(first.readInt32LE()), 13), 5) + 0xe6546b64;
    const second = Buffer.alloc(4);
    second.writeInt32LE(unmix(wanted ^ state));
    if (second.every((byte) => byte > 0 && byte < 0x80)) keys.push(Buffer.concat([first, second]).toString());
  }
  return keys;
}

describe('addSegmentKeys()', () => {
  it('answers one chunk for one key and leaves the others alone', () => {
    const { chunks } = added(new Map(), users(0, 20_000));
    const { change } = added(chunks, ['new']);
    expect(change.keyCount).toBe(1);
    expect(change.changed).toHaveLength(1);
    expect(change.removed).toEqual([]);
  });

  it('changes nothing for keys that are there', () => {
    const { chunks } = added(new Map(), users(0, 10_000));
    expect(added(chunks, users(500, 1_500)).change).toEqual({ changed: [], removed: [], keyCount: 0 });
  });

  it('replaces a full chunk by two', () => {
    const { chunks } = added(new Map(), users(0, 4_096));
    const { change, chunks: after } = added(chunks, ['new']);
    expect(change.removed.map((chunk) => chunk.prefix)).toEqual(['']);
    expect(change.changed.map((chunk) => chunk.prefix)).toEqual(['0', '1']);
    expect(keysOf(after)).toHaveLength(4_097);
  });
});

describe('removeSegmentKeys()', () => {
  it('removes an empty chunk', () => {
    const { chunks } = added(new Map(), ['a']);
    const change = removeSegmentKeys(LIST, chunks.values(), ['a', 'b']);
    expect(change).toEqual({ changed: [], removed: [...chunks.values()], keyCount: 1 });
  });

  it('changes nothing for keys that are not there', () => {
    const { chunks } = added(new Map(), users(0, 10_000));
    expect(removeSegmentKeys(LIST, chunks.values(), ['x', 'y'])).toEqual({ changed: [], removed: [], keyCount: 0 });
  });

  it('merges neighbours that hold at most half a chunk together, and not before', () => {
    const { chunks } = added(new Map(), users(0, 4_097));
    const toMerge = 4_097 - LIMITS.keysPerSegmentChunk / 2;
    const stay = apply(chunks, removeSegmentKeys(LIST, chunks.values(), users(0, toMerge - 1)));
    expect(stay.size).toBe(2);
    const change = removeSegmentKeys(LIST, chunks.values(), users(0, toMerge));
    expect(change.removed.map((chunk) => chunk.prefix)).toEqual(['0', '1']);
    expect(change.changed.map((chunk) => [chunk.prefix, chunk.keys.length])).toEqual([['', 2_048]]);
  });

  it('takes a list apart down to nothing', () => {
    const { chunks } = added(new Map(), users(0, 30_000));
    const small = apply(chunks, removeSegmentKeys(LIST, chunks.values(), users(10, 30_000)));
    expect(keysOf(small)).toEqual(users(0, 10).sort());
    expect(small.size).toBe(1);
    expect(apply(small, removeSegmentKeys(LIST, small.values(), users(0, 10))).size).toBe(0);
  });
});

describe('any sequence of edits', () => {
  it('leaves the same keys as chunking them afresh, in chunks that a node accepts', () => {
    const edit = fc.record({ isAdd: fc.boolean(), from: fc.nat(14_000), count: fc.integer({ min: 1, max: 6_000 }) });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 6 }), (edits) => {
        let chunks: Chunks = new Map();
        const expected = new Set<string>();
        for (const { isAdd, from, count } of edits) {
          const keys = users(from, from + count);
          const before = expected.size;
          for (const key of keys) {
            if (isAdd) expected.add(key);
            else expected.delete(key);
          }
          const change = isAdd ? added(chunks, keys).change : removeSegmentKeys(LIST, chunks.values(), keys);
          chunks = apply(chunks, change);
          expect(change.keyCount).toBe(Math.abs(expected.size - before));
        }
        expect(keysOf(chunks)).toEqual([...expected].sort());
        expect(issuesOf(chunks)).toEqual([]);
      }),
      { numRuns: 25 },
    );
  });
});
