import { createRequire } from 'node:module';
import { STORE_OPTIONS } from '@guidon/control-plane/store/control-store.js';

// The very lmdb of the control plane; why it is loaded so is said in control-store.ts.
const lmdb = createRequire(import.meta.resolve('@guidon/control-plane'))('lmdb') as typeof import('lmdb');

const VALUE_BYTES = 512;

/** LMDB as fast as it goes with the durability of the control plane: transactions of three puts and nothing else. */
export class RawTransactions {
  readonly #database;
  readonly #value = Buffer.alloc(VALUE_BYTES, 'v');
  #count = 0;

  constructor(directory: string) {
    this.#database = lmdb.open<Buffer>({ path: directory, ...STORE_OPTIONS });
  }

  /** One transaction, durable. */
  async write(): Promise<void> {
    this.#count += 1;
    const count = this.#count;
    await this.#database.transaction(() => {
      for (const noun of ['record', 'entry', 'outbox']) this.#database.putSync(['raw', noun, count], this.#value);
    });
  }

  async close(): Promise<void> {
    await this.#database.close();
  }
}
