import type { KeyRange, StoreKey } from './keys.js';
import type { StagedRows } from './staged-rows.js';

export interface ListedRow<Value> {
  readonly key: StoreKey;
  readonly value: Value;
}

export interface ListOptions {
  /** Continue behind the row whose key ends in this part. */
  readonly after?: string | number | undefined;
  readonly limit?: number | undefined;
  readonly reverse?: boolean | undefined;
}

/** Reads. Outside a transaction they show what is committed AND durable (M1). What `find` answers is frozen and shared; bytes are borrowed. */
export interface StoreReader {
  find<Value>(key: StoreKey): Value | undefined;
  findBytes(key: StoreKey): Buffer | undefined;
  has(key: StoreKey): boolean;
  /** Rows below a prefix, in key order. Nothing outside the prefix is ever read. */
  list<Value>(range: KeyRange, options?: ListOptions): ListedRow<Value>[];
}

/** Reads and writes of one transaction; reads see its own writes and those staged before. */
export interface StoreTransaction extends StoreReader {
  put(key: StoreKey, value: unknown): void;
  putBytes(key: StoreKey, bytes: Uint8Array): void;
  remove(key: StoreKey): void;
}

/** What a transaction came to, and when it is safe to say so. */
export interface Staged<Result> {
  readonly result: Result;
  /** Resolves once the commit that holds it is durable. Rejects as `transaction` does. */
  readonly durable: Promise<void>;
}

/** What a transaction would come to, for as long as nothing else is staged. */
export interface Draft<Result> {
  readonly rows: StagedRows;
  readonly result: Result;
  /** Transactions staged before it. */
  readonly stagedCount: number;
}
