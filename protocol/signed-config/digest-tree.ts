import { hash } from 'node:crypto';

/**
 * The digest of one environment's definitions: a 256-way tree, so that a change rehashes one bucket and two sides can compare
 * buckets instead of everything.
 *
 *   bucket of an entry = first byte of SHA-256(kind ++ 0x00 ++ key)
 *   bucket digest      = SHA-256 over its entries, sorted by (kind, key), each: kind ++ 0x00 ++ key ++ 0x00 ++ definition hash (32 bytes);
 *                        32 zero bytes when the bucket is empty
 *   root               = SHA-256 over the 256 bucket digests
 */
export class DigestTree {
  readonly #buckets: ReadonlyMap<string, Uint8Array>[] = new Array(BUCKET_COUNT).fill(EMPTY_BUCKET);
  /** Those of #buckets that no copy shares; any other is copied before it changes. */
  readonly #own = new Map<number, Map<string, Uint8Array>>();
  readonly #digests = Buffer.alloc(BUCKET_COUNT * HASH_BYTES);
  readonly #dirty = new Set<number>();

  /** A copy, so that a tentative change can be thrown away. */
  clone(): DigestTree {
    this.#rehash();
    this.#own.clear();
    const copy = new DigestTree();
    for (const [index, bucket] of this.#buckets.entries()) copy.#buckets[index] = bucket;
    this.#digests.copy(copy.#digests);
    return copy;
  }

  /** The definition hash in force. */
  find(kind: string, key: string): Uint8Array | undefined {
    const entry = entryOf(kind, key);
    return this.#buckets[bucketIndexOf(entry)]?.get(entry);
  }

  set(kind: string, key: string, definitionHash: Uint8Array): void {
    const entry = entryOf(kind, key);
    const index = bucketIndexOf(entry);
    this.#bucketToChange(index).set(entry, definitionHash);
    this.#dirty.add(index);
  }

  delete(kind: string, key: string): void {
    const entry = entryOf(kind, key);
    const index = bucketIndexOf(entry);
    if (this.#bucketToChange(index).delete(entry)) this.#dirty.add(index);
  }

  /** Lower-case hex of the root. */
  digest(): string {
    this.#rehash();
    return hash('sha256', this.#digests, 'hex');
  }

  #bucketToChange(index: number): Map<string, Uint8Array> {
    const own = this.#own.get(index) ?? new Map(this.#buckets[index]);
    this.#own.set(index, own);
    this.#buckets[index] = own;
    return own;
  }

  #rehash(): void {
    for (const index of this.#dirty) {
      const bucket = this.#buckets[index] ?? EMPTY_BUCKET;
      const parts: Uint8Array[] = [];
      for (const entry of [...bucket.keys()].sort()) {
        parts.push(Buffer.from(`${entry}\0`), bucket.get(entry) ?? new Uint8Array());
      }
      const digest = bucket.size === 0 ? Buffer.alloc(HASH_BYTES) : hash('sha256', Buffer.concat(parts), 'buffer');
      digest.copy(this.#digests, index * HASH_BYTES);
    }
    this.#dirty.clear();
  }
}

const BUCKET_COUNT = 256;
const HASH_BYTES = 32;
const EMPTY_BUCKET: ReadonlyMap<string, Uint8Array> = new Map();

const entryOf = (kind: string, key: string): string => `${kind}\0${key}`;

function bucketIndexOf(entry: string): number {
  return hash('sha256', entry, 'buffer')[0] ?? 0;
}

/** SHA-256 of definition bytes: the name under which they are stored and listed. */
export function hashDefinition(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}
