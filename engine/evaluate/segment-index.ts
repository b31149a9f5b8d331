import type { FlagSet, SegmentKeysDefinition } from '../flag-model/definitions.js';
import { compareUtf8 } from '../flag-model/text.js';
import { hashText } from './bucket.js';

type List = SegmentKeysDefinition['list'];
/** Chunks of one list by context kind, then by prefix. */
type Chunks = ReadonlyMap<string, ReadonlyMap<string, SegmentKeysDefinition>>;

/** Finds keys in the chunked lists of segments. Made once per flag set; costs one step per chunk, none per key. */
export class SegmentIndex {
  readonly #lists = new Map<string, Map<string, Map<string, SegmentKeysDefinition>>>();

  constructor(flagSet: FlagSet) {
    for (const chunk of flagSet.segmentKeys.values()) {
      const list = inserted(this.#lists, listName(chunk.segment, chunk.list));
      inserted(list, chunk.contextKind).set(chunk.prefix, chunk);
    }
  }

  /** The lists of one segment, of every context kind. */
  listOf(segment: string, list: List): Chunks {
    return this.#lists.get(listName(segment, list)) ?? new Map();
  }
}

function listName(segment: string, list: List): string {
  return `${list} ${segment}`;
}

function inserted<Key, InnerKey, Inner>(map: Map<Key, Map<InnerKey, Inner>>, key: Key): Map<InnerKey, Inner> {
  const inner = map.get(key) ?? new Map<InnerKey, Inner>();
  map.set(key, inner);
  return inner;
}

/** Chunks are the leaves of a trie: at most one prefix of the key's hash is among them. */
export function hasKey(chunks: ReadonlyMap<string, SegmentKeysDefinition>, key: string): boolean {
  const bits = hashText(key).toString(2).padStart(32, '0');
  for (let length = 0; length <= bits.length; length++) {
    const chunk = chunks.get(bits.slice(0, length));
    if (chunk !== undefined) return hasSorted(chunk.keys, key);
  }
  return false;
}

/** `keys` are those of a chunk: sorted by UTF-8 bytes. */
export function hasSorted(keys: readonly string[], key: string): boolean {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareUtf8(keys[middle] ?? '', key) < 0) low = middle + 1;
    else high = middle;
  }
  return keys[low] === key;
}
