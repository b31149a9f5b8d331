import { hash } from 'node:crypto';

/**
 * The Merkle tree of RFC 9162 (certificate transparency) over a list that only grows.
 *
 *   leaf        = SHA-256(0x00 ++ entry)
 *   inner node  = SHA-256(0x01 ++ left ++ right)
 *   tree of n   = node(tree of the first k, tree of the rest), k = the largest power of two below n; the empty tree is SHA-256("")
 *
 * A subtree over 2^level leaves that starts at a multiple of its size never changes once it is full: it is named (level, index) and kept.
 * Hashes are 32 bytes.
 */
export interface MerkleNode {
  readonly level: number;
  /** Which of its level, from 0: it covers the leaves from index * 2^level on. */
  readonly index: number;
  readonly hash: Uint8Array;
}

export const MERKLE_HASH_BYTES = 32;

const LEAF = Uint8Array.of(0);
const INNER = Uint8Array.of(1);

export const hashLeaf = (entry: string): Uint8Array =>
  hash('sha256', Buffer.concat([LEAF, Buffer.from(entry)]), 'buffer');

export const hashInner = (left: Uint8Array, right: Uint8Array): Uint8Array =>
  hash('sha256', Buffer.concat([INNER, left, right]), 'buffer');

/** The right edge of a tree: the full subtrees it is made of, largest first, one per bit of its size. Enough to append and to take the root. */
export class MerkleFrontier {
  readonly #peaks: Uint8Array[];
  #size: number;

  /** An empty tree, or one of `size` leaves with the peaks that were kept of it. */
  constructor(size = 0, peaks: readonly Uint8Array[] = []) {
    if (peaks.length !== bitCount(size)) throw new RangeError(`a tree of ${size} leaves has ${bitCount(size)} peaks`);
    this.#size = size;
    this.#peaks = [...peaks];
  }

  get size(): number {
    return this.#size;
  }

  get peaks(): readonly Uint8Array[] {
    return this.#peaks;
  }

  /** Adds a leaf. Returns the inner nodes that it made full, lowest first: none at every second leaf, one more at each power of two. */
  append(leaf: Uint8Array): MerkleNode[] {
    const full: MerkleNode[] = [];
    let index = this.#size;
    let node = leaf;
    for (let level = 1; index % 2 === 1; level += 1) {
      const left = this.#peaks.pop();
      if (left === undefined) throw new Error('a peak stands for every bit of the size');
      index = (index - 1) / 2;
      node = hashInner(left, node);
      full.push({ level, index, hash: node });
    }
    this.#peaks.push(node);
    this.#size += 1;
    return full;
  }

  root(): Uint8Array {
    const [last, ...rest] = this.#peaks.toReversed();
    if (last === undefined) return hash('sha256', '', 'buffer');
    return rest.reduce((right, left) => hashInner(left, right), last);
  }
}

function bitCount(size: number): number {
  let count = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) count += rest % 2;
  return count;
}

/** The largest power of two below `count`, which is at least 2: where a tree of `count` leaves divides. */
export function divisionOf(count: number): number {
  let division = 1;
  while (division * 2 < count) division *= 2;
  return division;
}
