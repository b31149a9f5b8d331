import type { EnvironmentRef } from '@guidon/protocol';
import type { SnapshotStore } from './snapshot-store.js';

/**
 * The blocks of one snapshot as the kernel asks for them, one by one and only those that are not resident yet: new ones from memory, the
 * others from the mapped file. A block from the file is a copy, because the kernel lets the event loop turn while it hashes and
 * copies a large one, and whoever reads the store then would overwrite what was borrowed. Loading never lists them, so `ids` is asked only by
 * whoever does.
 */
export class StoredBlocks implements ReadonlyMap<string, Uint8Array> {
  readonly #store: SnapshotStore;
  readonly #environment: EnvironmentRef;
  readonly #idsOf: () => ReadonlySet<string>;
  readonly #newBlocks: ReadonlyMap<string, Uint8Array>;

  constructor(
    store: SnapshotStore,
    environment: EnvironmentRef,
    ids: () => ReadonlySet<string>,
    newBlocks: ReadonlyMap<string, Uint8Array> = new Map(),
  ) {
    this.#store = store;
    this.#environment = environment;
    this.#idsOf = ids;
    this.#newBlocks = newBlocks;
  }

  get size(): number {
    return this.#idsOf().size;
  }

  has(id: string): boolean {
    return this.#idsOf().has(id);
  }

  get(id: string): Uint8Array | undefined {
    return this.#newBlocks.get(id) ?? this.#store.findBlock(this.#environment, id);
  }

  keys(): SetIterator<string> {
    return this.#idsOf().values();
  }

  *entries(): MapIterator<[string, Uint8Array]> {
    for (const id of this.#idsOf()) {
      const bytes = this.get(id);
      if (bytes !== undefined) yield [id, bytes];
    }
    return undefined;
  }

  *values(): MapIterator<Uint8Array> {
    for (const [, bytes] of this.entries()) yield bytes;
    return undefined;
  }

  [Symbol.iterator](): MapIterator<[string, Uint8Array]> {
    return this.entries();
  }

  forEach(callback: (bytes: Uint8Array, id: string, map: ReadonlyMap<string, Uint8Array>) => void): void {
    for (const [id, bytes] of this.entries()) callback(bytes, id, this);
  }
}
