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
  readonly #buckets: Map<string, Uint8Array>[] = Array.from({ length: BUCKET_COUNT }, () => new Map());
  readonly #digests = Buffer.alloc(BUCKET_COUNT * HASH_BYTES);
  readonly #dirty = new Set<number>();

  /** Copies `other`, so that a tentative change can be thrown away. */
  clone(): DigestTree {
    const copy = new DigestTree();
    this.#rehash();
    for (const [index, bucket] of this.#buckets.entries()) {
      for (const [entry, hash] of bucket) copy.#buckets[index]?.set(entry, hash);
    }
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
    this.#buckets[index]?.set(entry, definitionHash);
    this.#dirty.add(index);
  }

  delete(kind: string, key: string): void {
    const entry = entryOf(kind, key);
    const index = bucketIndexOf(entry);
    if (this.#buckets[index]?.delete(entry)) this.#dirty.add(index);
  }

  /** Lower-case hex of the root. */
  digest(): string {
    this.#rehash();
    return hash('sha256', this.#digests, 'hex');
  }

  #rehash(): void {
    for (const index of this.#dirty) {
      const bucket = this.#buckets[index] ?? new Map<string, Uint8Array>();
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

const entryOf = (kind: string, key: string): string => `${kind}\0${key}`;

function bucketIndexOf(entry: string): number {
  return hash('sha256', entry, 'buffer')[0] ?? 0;
}

/** SHA-256 of definition bytes: the name under which they are stored and listed. */
export function hashDefinition(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}
