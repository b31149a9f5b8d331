import { PlatformError } from '@guidon/protocol';
import type { RootDatabase } from 'lmdb';
import type { KeyRange, StoreKey } from './keys.js';
import { decodeBytes, decodeRecord } from './record-codec.js';

const PAGE_ROWS = 100;
/** Open at a time. */
export const SNAPSHOTS_MAX = 8;

export interface StoredRow {
  readonly key: StoreKey;
  readonly bytes: Buffer;
}

/** The durable store at one moment. */
export interface StoreSnapshot {
  find<Value>(key: StoreKey): Value | undefined;
  /** Rows below a prefix in the order of their keys, some at a time; bytes without their checksum. */
  pages(range: KeyRange): Generator<readonly StoredRow[]>;
  close(): void;
}

/** The snapshots of one store that are open. */
export class OpenSnapshots {
  readonly #database: RootDatabase<Buffer>;
  readonly #msMax: number;
  /** What closes each of them. */
  readonly #open = new Set<() => void>();

  constructor(database: RootDatabase<Buffer>, msMax: number) {
    this.#database = database;
    this.#msMax = msMax;
  }

  /**
   * The durable store as it is now, for whoever reads for long. Close it: as long as it is open no page that it can see is used again (M7). It closes
   * by itself after `msMax`, for who reads may wait for a client that takes nothing any more; reading it then throws `timeout`. Throws
   * `overloaded` when there are SNAPSHOTS_MAX: LMDB has few places for readers, and needs one for every other process.
   */
  open(): StoreSnapshot {
    if (this.#open.size >= SNAPSHOTS_MAX) throw new PlatformError('overloaded', 'too many read the store for long');
    const transaction = this.#database.useReadTransaction();
    const close = (): void => {
      if (this.#open.delete(close)) transaction.done();
      clearTimeout(timer);
    };
    this.#open.add(close);
    const timer = setTimeout(close, this.#msMax);
    timer.unref();
    const assertOpen = (): void => {
      if (!this.#open.has(close)) throw new PlatformError('timeout', 'reading the store took too long');
    };
    const database = this.#database;
    return {
      find: <Value>(key: StoreKey): Value | undefined => {
        assertOpen();
        const row = database.get(key, { transaction });
        return row === undefined ? undefined : decodeRecord<Value>(row);
      },
      *pages({ prefix }: KeyRange): Generator<readonly StoredRow[]> {
        let after: StoreKey | undefined;
        for (;;) {
          assertOpen();
          const range = {
            start: after ?? [...prefix],
            end: [...prefix, '\uffff'],
            exclusiveStart: after !== undefined,
          };
          const rows = [...database.getRange({ ...range, limit: PAGE_ROWS, transaction })];
          yield rows.map(({ key, value }) => ({ key: key as StoreKey, bytes: decodeBytes(value) }));
          const last = rows[rows.length - 1];
          if (last === undefined || rows.length < PAGE_ROWS) return;
          after = last.key as StoreKey;
        }
      },
      close,
    };
  }

  close(): void {
    for (const closeOne of this.#open) closeOne();
  }
}
