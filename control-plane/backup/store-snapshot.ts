import { createRequire } from 'node:module';
import type { RootDatabase, Transaction } from 'lmdb';
import { type ListedRow, type ListOptions, STORE_OPTIONS, type StoreReader } from '../store/control-store.js';
import { type KeyRange, keys, type StoreKey } from '../store/keys.js';
import { decodeBytes, decodeRecord } from '../store/record-codec.js';
import type { BackupRow } from './backup-file.js';

const lmdb = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');

/**
 * A store as it is at one moment, beside a process that goes on writing it: one read transaction of LMDB, which never waits for a writer nor
 * makes one wait. Pages that were let go meanwhile are not used again until `close`, so keep it short (M7).
 */
export class StoreSnapshot implements StoreReader {
  readonly #database: RootDatabase<Buffer>;
  readonly #transaction: Transaction;

  constructor(directory: string) {
    this.#database = lmdb.open<Buffer>({ path: directory, ...STORE_OPTIONS, readOnly: true });
    this.#transaction = this.#database.useReadTransaction();
  }

  find<Value>(key: StoreKey): Value | undefined {
    const row = this.#get(key);
    return row === undefined ? undefined : decodeRecord<Value>(row);
  }

  findBytes(key: StoreKey): Buffer | undefined {
    const row = this.#get(key);
    return row === undefined ? undefined : decodeBytes(row);
  }

  has(key: StoreKey): boolean {
    return this.#get(key) !== undefined;
  }

  list<Value>({ prefix }: KeyRange, { limit }: Pick<ListOptions, 'limit'> = {}): ListedRow<Value>[] {
    const range = this.#database.getRange({
      start: [...prefix],
      end: [...prefix, '\uffff'],
      transaction: this.#transaction,
      ...(limit === undefined ? {} : { limit }),
    });
    return [...range].map(({ key, value }) => ({ key: key as StoreKey, value: decodeRecord<Value>(value) }));
  }

  /** Every row, in key order, as it is stored. Throws `storage-unavailable` at the first damaged one. */
  *rows(): Generator<BackupRow> {
    for (const { key, value } of this.#database.getRange({ transaction: this.#transaction })) {
      decodeBytes(value);
      yield { key: key as StoreKey, value };
    }
  }

  /** The highest epoch that any environment has; 0 when there is none. */
  highestEpoch(): number {
    let highest = 0;
    for (const { value } of this.list<Parameters<typeof keys.environmentState>[0]>(keys.environmentOwners())) {
      highest = Math.max(highest, this.find<{ epoch: number }>(keys.environmentState(value))?.epoch ?? 0);
    }
    return highest;
  }

  async close(): Promise<void> {
    this.#transaction.done();
    await this.#database.close();
  }

  #get(key: StoreKey): Buffer | undefined {
    return this.#database.get(key, { transaction: this.#transaction });
  }
}
