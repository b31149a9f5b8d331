import { type Issue, LIMITS } from '@guidon/protocol';
import { hashText } from '../evaluate/bucket.js';
import type { SegmentKeysDefinition } from './definitions.js';
import type { Parsed } from './input.js';
import { compareUtf8 } from './text.js';

/** One key list: the included or excluded keys of one context kind of one segment. */
export type SegmentKeyList = Pick<SegmentKeysDefinition, 'segment' | 'list' | 'contextKind'>;

/** What an edit of a key list did. Chunks that are not named here are unchanged. */
export interface SegmentKeysChange {
  /** New chunks, and chunks with other keys than before. */
  readonly changed: readonly SegmentKeysDefinition[];
  /** Chunks whose prefix is no longer a leaf. */
  readonly removed: readonly SegmentKeysDefinition[];
  /** Keys that were added or removed; those that were there (or absent) already do not count. */
  readonly keyCount: number;
}

/** Two neighbours are merged when they hold at most this together: half a chunk, so that one key more or less never flips back. */
const MERGED_KEY_COUNT_MAX = LIMITS.keysPerSegmentChunk / 2;
const HASH_BITS = 32;

/** Would `key` lie in the chunk with this prefix? */
export function isInChunk(prefix: string, key: string): boolean {
  return hashText(key).toString(2).padStart(HASH_BITS, '0').startsWith(prefix);
}

interface HashedKey {
  readonly key: string;
  /** Unsigned murmur3; its leading bits are the way down the trie. */
  readonly hash: number;
}

/** The chunks of a list that holds exactly these keys (in any order, repeated ones count once). */
export function chunkSegmentKeys(list: SegmentKeyList, keys: Iterable<string>): Parsed<SegmentKeysDefinition[]> {
  const parsed = addSegmentKeys(list, [], keys);
  return parsed.ok ? { ok: true, value: [...parsed.value.changed] } : parsed;
}

/**
 * Adds keys to a list. `chunks` are all chunks of this list; `keys` have passed parseTargetingKeys. Refused with `limit-exceeded`: more
 * than LIMITS.segmentKeys keys, or more keys with one hash than a chunk holds (a trie over hashes cannot tell those apart).
 */
export function addSegmentKeys(
  list: SegmentKeyList,
  chunks: Iterable<SegmentKeysDefinition>,
  keys: Iterable<string>,
): Parsed<SegmentKeysChange> {
  const existing = [...chunks];
  const edit = new TrieEdit(list);
  edit.add('', existing, hashedKeys(keys));
  const keyCount = existing.reduce((count, chunk) => count + chunk.keys.length, edit.keyCount);
  if (keyCount > LIMITS.segmentKeys) return refuse(`a segment has at most ${LIMITS.segmentKeys} keys in its lists`);
  if (edit.hasCollision) return refuse(`more than ${LIMITS.keysPerSegmentChunk} keys have the same hash`);
  return { ok: true, value: { changed: edit.changed, removed: edit.removed, keyCount: edit.keyCount } };
}

/** Removes keys from a list; small neighbours are merged and empty chunks go. */
export function removeSegmentKeys(
  list: SegmentKeyList,
  chunks: Iterable<SegmentKeysDefinition>,
  keys: Iterable<string>,
): SegmentKeysChange {
  const existing = [...chunks];
  const edit = new TrieEdit(list);
  const left = new Set(edit.remove('', existing, hashedKeys(keys)));
  const before = new Set(existing);
  const prefixes = new Set([...left].map(({ prefix }) => prefix));
  return {
    changed: [...left].filter((chunk) => !before.has(chunk)),
    removed: existing.filter((chunk) => !left.has(chunk) && !prefixes.has(chunk.prefix)),
    keyCount: edit.keyCount,
  };
}

function refuse(detail: string): { ok: false; issues: Issue[] } {
  return { ok: false, issues: [{ pointer: '', code: 'limit-exceeded', detail }] };
}

function hashedKeys(keys: Iterable<string>): HashedKey[] {
  return Array.from(new Set(keys), (key) => ({ key, hash: hashText(key) }));
}

/** One edit of one list: walks down from the root along the keys of the edit only. */
class TrieEdit {
  readonly changed: SegmentKeysDefinition[] = [];
  readonly removed: SegmentKeysDefinition[] = [];
  keyCount = 0;
  hasCollision = false;
  readonly #list: SegmentKeyList;

  constructor(list: SegmentKeyList) {
    this.#list = list;
  }

  /** `chunks` and `keys` are those below `prefix`. */
  add(prefix: string, chunks: readonly SegmentKeysDefinition[], keys: readonly HashedKey[]): void {
    if (keys.length === 0) return;
    const [leaf] = chunks;
    if (leaf === undefined) {
      this.keyCount += keys.length;
      this.#grow(prefix, keys);
    } else if (leaf.prefix.length <= prefix.length) {
      this.#addToLeaf(leaf, keys);
    } else {
      const [chunks0, chunks1] = halves(chunks, ({ prefix: other }) => other[prefix.length] === '1');
      const [keys0, keys1] = halves(keys, ({ hash }) => isBitSet(hash, prefix.length));
      this.add(`${prefix}0`, chunks0, keys0);
      this.add(`${prefix}1`, chunks1, keys1);
    }
  }

  #addToLeaf(leaf: SegmentKeysDefinition, keys: readonly HashedKey[]): void {
    const known = new Set(leaf.keys);
    const added = keys.filter(({ key }) => !known.has(key));
    if (added.length === 0) return;
    this.keyCount += added.length;
    if (known.size + added.length > LIMITS.keysPerSegmentChunk) this.removed.push(leaf);
    this.#grow(leaf.prefix, [...hashedKeys(leaf.keys), ...added]);
  }

  /** Makes the leaves that hold `keys`, all of them below `prefix`. */
  #grow(prefix: string, keys: readonly HashedKey[]): void {
    if (keys.length === 0) return;
    if (keys.length <= LIMITS.keysPerSegmentChunk) {
      const plain = keys.map(({ key }) => key);
      this.changed.push(this.#chunk(prefix, plain));
    } else if (prefix.length === HASH_BITS) {
      this.hasCollision = true;
    } else {
      const [keys0, keys1] = halves(keys, ({ hash }) => isBitSet(hash, prefix.length));
      this.#grow(`${prefix}0`, keys0);
      this.#grow(`${prefix}1`, keys1);
    }
  }

  /** Answers the chunks below `prefix` after the edit; untouched ones are the same objects. */
  remove(
    prefix: string,
    chunks: readonly SegmentKeysDefinition[],
    keys: readonly HashedKey[],
  ): readonly SegmentKeysDefinition[] {
    const [leaf] = chunks;
    if (leaf === undefined || keys.length === 0) return chunks;
    if (leaf.prefix.length <= prefix.length) return this.#removeFromLeaf(leaf, keys);
    const [chunks0, chunks1] = halves(chunks, ({ prefix: other }) => other[prefix.length] === '1');
    const [keys0, keys1] = halves(keys, ({ hash }) => isBitSet(hash, prefix.length));
    const left = [...this.remove(`${prefix}0`, chunks0, keys0), ...this.remove(`${prefix}1`, chunks1, keys1)];
    const isUntouched = left.length === chunks.length && left.every((chunk) => chunks.includes(chunk));
    return isUntouched ? chunks : this.#merge(prefix, left);
  }

  #merge(prefix: string, chunks: readonly SegmentKeysDefinition[]): readonly SegmentKeysDefinition[] {
    const keyCount = chunks.reduce((count, chunk) => count + chunk.keys.length, 0);
    if (keyCount > MERGED_KEY_COUNT_MAX || keyCount === 0) return chunks;
    return [
      this.#chunk(
        prefix,
        chunks.flatMap(({ keys }) => keys),
      ),
    ];
  }

  #removeFromLeaf(leaf: SegmentKeysDefinition, keys: readonly HashedKey[]): readonly SegmentKeysDefinition[] {
    const gone = new Set(keys.map(({ key }) => key));
    const left = leaf.keys.filter((key) => !gone.has(key));
    this.keyCount += leaf.keys.length - left.length;
    if (left.length === leaf.keys.length) return [leaf];
    return left.length === 0 ? [] : [this.#chunk(leaf.prefix, left)];
  }

  #chunk(prefix: string, keys: string[]): SegmentKeysDefinition {
    const { segment, list, contextKind } = this.#list;
    return { kind: 'segment-keys', segment, list, contextKind, prefix, keys: keys.sort(compareUtf8) };
  }
}

function isBitSet(hash: number, bitIndex: number): boolean {
  return ((hash >>> (HASH_BITS - 1 - bitIndex)) & 1) === 1;
}

function halves<T>(elements: readonly T[], isSecond: (element: T) => boolean): [T[], T[]] {
  const first: T[] = [];
  const second: T[] = [];
  for (const element of elements) (isSecond(element) ? second : first).push(element);
  return [first, second];
}
