import { strict as assert } from 'node:assert';
import { mkdirSync, statfsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PlatformError, settlesWithin } from '@guidon/protocol';
import type { RootDatabase } from 'lmdb';
import { hearCommitRejections } from './commit-rejections.js';
import { DATA_FILE, makeDataFile } from './data-file.js';
import { GroupCommit } from './group-commit.js';
import { type KeyRange, keys, type StoreKey } from './keys.js';
import { OpenSnapshots, type StoredRow, type StoreSnapshot } from './open-snapshots.js';
import { decodeBytes, decodeRecord, encodeBytes, encodeRecord } from './record-codec.js';
import { Row } from './row.js';
import { RowCache } from './row-cache.js';
import { assertSoundFile } from './sound-file.js';
import { nameOf, StagedRows } from './staged-rows.js';
import type { Draft, ListedRow, ListOptions, Staged, StoreReader, StoreTransaction } from './store-reader.js';
import { WriterLock } from './writer-lock.js';

export type { Draft, ListedRow, ListOptions, StoreReader, StoreTransaction } from './store-reader.js';

// The package's ES module bundle has no types that node16 resolution accepts; its CommonJS entry has.
const lmdb = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');

/**
 * `overlappingSync: false`: nothing is readable before it is durable (M1), and a failed commit shows the old value (M2). `binary`: lmdb's
 * own decoder never runs on stored bytes (M16).
 */
export const STORE_OPTIONS = {
  overlappingSync: false,
  encoding: 'binary',
  keyEncoding: 'ordered-binary',
  maxDbs: 1,
} as const;

/** History: 1 = first; 2 = audit logs have a Merkle tree; 3 = definitions have a history; 4 = what a tenant has is counted; 5 = tenants have a feed. A store with a newer one is refused, an older one is migrated when it is opened. */
export const STORE_FORMAT_VERSION = 5;

/** Brings a store from one format to the next, in one transaction: a kill half-way leaves the old format, and the next start does it again. */
export interface Migration {
  readonly from: number;
  /** What it makes, for the log. */
  readonly summary: string;
  migrate(transaction: StoreTransaction): void;
}

const PAGE_BYTES = 4_096;
const CLOSE_DEADLINE_MS = 1_000;
/** LMDB takes keys of 1 978 bytes. */
const KEY_CHARS_MAX = 1_500;
export interface ControlStoreOptions {
  readonly directory: string;
  /** Address space reserved for the file, which itself grows as it is filled; lmdb maps more when this is not enough. */
  readonly mapBytes?: number;
  /** Writes are refused while the file system has less than this free (M4). */
  readonly freeBytesMin?: number;
  /** A commit that takes longer is reported as `outcome-unknown` and ends this store's writes (I3, M3). */
  readonly commitDeadlineMs?: number;
  /** How long a snapshot stays open at most; default ten minutes. */
  readonly snapshotMsMax?: number;
  /** Called once, after a commit failed or ran over its deadline or a newer writer took the directory. */
  readonly onFailure?: (error: Error) => void;
  /** Default: none, so that an older format is refused. */
  readonly migrations?: readonly Migration[];
  readonly onMigrated?: (migration: Migration) => void;
}

/**
 * The control plane's LMDB. One environment, one writer process, values binary through our own codec, `overlappingSync: false`, so
 * that nothing is readable before it is durable (M1, M2). States: open -> failed (no write any more, reads go on) -> closed.
 *
 * A transaction is run when it is asked for, on what is stored and what is staged; its rows join the open group (group-commit.ts). Nobody but
 * later transactions and `readStaged` sees a staged row; durable rows that were read or written lately are kept parsed (row-cache.ts).
 */
export class ControlStore implements StoreReader {
  readonly #database: RootDatabase<Buffer>;
  readonly #lock: WriterLock;
  readonly #options: Required<ControlStoreOptions>;
  #writerEpoch = 0;
  #failure: Error | undefined;
  #freeBytesCheckedAt = Number.NEGATIVE_INFINITY;
  readonly #commits: GroupCommit;
  readonly #cache = new RowCache();
  /** Rows of the transaction that runs right now. */
  #draft: StagedRows | undefined;
  #isStagedRead = false;
  #stagedCount = 0;
  readonly #snapshots: OpenSnapshots;

  static async open(options: ControlStoreOptions): Promise<ControlStore> {
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    const lock = new WriterLock(options.directory);
    try {
      await makeDataFile(options.directory, makeFirstRows);
      assertSoundFile(join(options.directory, DATA_FILE));
      const database = lmdb.open<Buffer>({
        path: options.directory,
        ...STORE_OPTIONS,
        mapSize: options.mapBytes ?? 64 * 1024 * 1024 * 1024,
      });
      try {
        const store = new ControlStore(database, lock, options);
        await store.#takeOver();
        return store;
      } catch (error) {
        await database.close();
        throw error;
      }
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  private constructor(database: RootDatabase<Buffer>, lock: WriterLock, options: ControlStoreOptions) {
    this.#database = database;
    this.#lock = lock;
    this.#options = {
      mapBytes: 0,
      freeBytesMin: 64 * 1024 * 1024,
      commitDeadlineMs: 2_000,
      snapshotMsMax: 10 * 60_000,
      onFailure: () => {},
      migrations: [],
      onMigrated: () => {},
      ...options,
    };
    this.#snapshots = new OpenSnapshots(database, this.#options.snapshotMsMax);
    this.#commits = new GroupCommit({
      database,
      deadlineMs: this.#options.commitDeadlineMs,
      assertNewestWriter: () => this.#assertNewestWriter(),
      onDurable: (rows) => {
        for (const row of rows) this.#cache.put(row);
      },
      onFailure: (failure) => this.#fail(failure),
    });
  }

  get failure(): Error | undefined {
    return this.#failure;
  }

  find<Value>(key: StoreKey): Value | undefined {
    return this.#read(key)?.value<Value>();
  }

  findBytes(key: StoreKey): Buffer | undefined {
    return this.#read(key)?.bytes();
  }

  has(key: StoreKey): boolean {
    const known = this.#findInMemory(nameOf(key));
    return known === undefined ? this.#database.doesExist(key) : known.stored !== undefined;
  }

  list<Value>(range: KeyRange, options: ListOptions = {}): ListedRow<Value>[] {
    const staged = this.#isStagedRead
      ? [...this.#commits.rows.within(range), ...(this.#draft?.within(range) ?? [])]
      : [];
    const rows = staged.length === 0 ? this.#listDurable(range, options) : this.#listStaged(range, options, staged);
    return rows.map(({ key, bytes }) => ({ key, value: decodeRecord<Value>(bytes) }));
  }

  /** What `work` reads of this store includes what is staged: for plans of the next transaction. `work` must be synchronous. */
  readStaged<Result>(work: () => Result): Result {
    const before = this.#isStagedRead;
    this.#isStagedRead = true;
    try {
      return work();
    } finally {
      this.#isStagedRead = before;
    }
  }

  /**
   * Runs `work` in one transaction: all of its writes or, when it throws, none (I1). Resolves with its result once that is durable. `work` must be
   * synchronous. Throws `storage-unavailable` before anything happened, `outcome-unknown` when nobody can say (I3).
   */
  async transaction<Result>(work: (transaction: StoreTransaction) => Result): Promise<Result> {
    const { result, durable } = this.stage(work);
    await durable;
    return result;
  }

  /**
   * `transaction` in two steps: what later transactions see is there at once, and may be told to anybody when it is durable. `early`: what `draft` made
   * of the same work, which is taken as it is if nothing has been staged since.
   */
  stage<Result>(work: (transaction: StoreTransaction) => Result, early?: Draft<Result>): Staged<Result> {
    this.#assertWritable();
    this.#commits.assertRoom();
    const { rows, result } = early?.stagedCount === this.#stagedCount ? early : this.#run(work);
    this.#stagedCount += 1;
    return { result, durable: this.#commits.add(rows) };
  }

  /** Runs `work` ahead of `stage`, with no effect. Undefined when it throws: `stage` finds out whether it still does. */
  draft<Result>(work: (transaction: StoreTransaction) => Result): Draft<Result> | undefined {
    try {
      return this.#run(work);
    } catch {
      return undefined;
    }
  }

  #run<Result>(work: (transaction: StoreTransaction) => Result): Draft<Result> {
    assert(this.#draft === undefined, 'a transaction starts no other');
    const rows = new StagedRows();
    this.#draft = rows;
    try {
      const result = this.readStaged(() => work(this.#stagingWriter));
      return { rows, result, stagedCount: this.#stagedCount };
    } finally {
      this.#draft = undefined;
    }
  }

  /** Resolves once everything staged so far is durable: before anybody is told what was decided by it. Throws `storage-unavailable` when it is not. */
  async settled(): Promise<void> {
    try {
      await this.#commits.settled;
    } catch (cause) {
      throw new PlatformError('storage-unavailable', 'a commit failed; this process serves no further write', {
        cause,
      });
    }
  }

  /** See OpenSnapshots.open. */
  openSnapshot(): StoreSnapshot {
    return this.#snapshots.open();
  }

  /** Frees reader slots of processes that died, which would keep old pages from being used again (M7). Call it now and then. */
  maintain(): void {
    if (this.#failure === undefined) this.#database.readerCheck();
  }

  /** Waits for what is being committed, then closes. No call may follow. */
  async close(): Promise<void> {
    this.#snapshots.close();
    if (this.#failure === undefined) {
      await settlesWithin(this.#commits.idle, this.#options.commitDeadlineMs);
      // Everything is durable by now. lmdb-js sometimes does not come back from closing; the end of the process closes as well.
      await settlesWithin(this.#database.close(), CLOSE_DEADLINE_MS);
    }
    this.#lock.release();
  }

  /** Checks the format, migrates an older one, and raises the fencing epoch: from here on an older writer's transactions abort (I6). */
  async #takeOver(): Promise<void> {
    let version = this.#findStored<{ version: number }>(keys.storeFormat())?.version ?? STORE_FORMAT_VERSION;
    if (version > STORE_FORMAT_VERSION) {
      throw new PlatformError(
        'storage-unavailable',
        `the store has format ${version}, this build reads up to ${STORE_FORMAT_VERSION}: start the newer build again`,
      );
    }
    for (; version < STORE_FORMAT_VERSION; version += 1) await this.#migrateFrom(version);
    this.#writerEpoch = await this.#database.childTransaction(() => {
      const epoch = (this.#findStored<WriterRow>(keys.writer())?.epoch ?? 0) + 1;
      this.#writer.put(keys.storeFormat(), { version: STORE_FORMAT_VERSION });
      this.#writer.put(keys.writer(), { epoch, pid: process.pid } satisfies WriterRow);
      return epoch;
    });
  }

  async #migrateFrom(version: number): Promise<void> {
    const migration = this.#options.migrations.find(({ from }) => from === version);
    if (migration === undefined) {
      throw new PlatformError(
        'storage-unavailable',
        `the store has format ${version}, which this build cannot migrate`,
      );
    }
    await this.#database.childTransaction(() => {
      migration.migrate(this.#writer);
      this.#writer.put(keys.storeFormat(), { version: version + 1 });
    });
    this.#options.onMigrated(migration);
  }

  #read(key: StoreKey): Row | undefined {
    const name = nameOf(key);
    const known = this.#findInMemory(name);
    if (known !== undefined) return known;
    const stored = this.#database.get(key);
    if (stored === undefined) return undefined;
    const row = new Row(key, name, stored);
    if (this.#failure === undefined) this.#cache.put(row);
    return row;
  }

  #findInMemory(name: string): Row | undefined {
    const staged = this.#isStagedRead ? (this.#draft?.find(name) ?? this.#commits.rows.find(name)) : undefined;
    return staged ?? this.#cache.find(name);
  }

  #listDurable(range: KeyRange, { after, limit, reverse = false }: ListOptions): StoredRow[] {
    // Above every part we use: parts are numbers or ASCII text.
    const low: (string | number)[] = [...range.prefix];
    const high: (string | number)[] = [...range.prefix, '\uffff'];
    const entries = this.#database.getRange({
      start: after === undefined ? (reverse ? high : low) : [...range.prefix, after],
      end: reverse ? low : high,
      reverse,
      exclusiveStart: after !== undefined,
      ...(limit === undefined ? {} : { limit }),
    });
    return [...entries].map(({ key, value }) => ({ key: key as StoreKey, bytes: value }));
  }

  /** The same with `staged` laid over it; a row that is there twice counts as it is the last time. */
  #listStaged(range: KeyRange, options: ListOptions, staged: readonly Row[]): StoredRow[] {
    const { after, limit, reverse = false } = options;
    const isBehind = ({ key }: Row): boolean =>
      after === undefined || lmdb.compareKeys(key, [...range.prefix, after]) * (reverse ? -1 : 1) > 0;
    const rows = new Map<string, Row>();
    // Each staged row takes one stored row away at most.
    const durable = this.#listDurable(range, { ...options, limit: limit && limit + staged.length });
    const stored = durable.map(({ key, bytes }) => new Row(key, nameOf(key), bytes));
    for (const row of [...stored, ...staged.filter(isBehind)]) rows.set(row.name, row);
    return [...rows.values()]
      .flatMap(({ key, stored: bytes }) => (bytes === undefined ? [] : [{ key, bytes }]))
      .sort((a, b) => lmdb.compareKeys(a.key, b.key) * (reverse ? -1 : 1))
      .slice(0, limit);
  }

  readonly #stagingWriter: StoreTransaction = {
    find: <Value>(key: StoreKey) => this.find<Value>(key),
    findBytes: (key) => this.findBytes(key),
    has: (key) => this.has(key),
    list: <Value>(range: KeyRange, options?: ListOptions) => this.list<Value>(range, options),
    put: (key, value) => this.#stageRow(key, encodeRecord(value)),
    putBytes: (key, bytes) => this.#stageRow(key, encodeBytes(bytes)),
    remove: (key) => this.#stageRow(key, undefined),
  };

  #stageRow(key: StoreKey, stored: Buffer | undefined): void {
    const row = new Row(key, nameOf(key), stored);
    assert(this.#draft !== undefined, 'a transaction ends when its work returns');
    // What LMDB would refuse must not reach a group: it would fail for all that are in it.
    assert(row.name.length <= KEY_CHARS_MAX, 'a key is made of ids and keys, which are short');
    this.#draft.set(row);
  }

  /** For opening and migrating. Puts inside a transaction are synchronous calls: they make no promise that could reject unheard (M2). */
  readonly #writer: StoreTransaction = {
    find: <Value>(key: StoreKey) => this.#findStored<Value>(key),
    findBytes: (key) => {
      const stored = this.#database.get(key);
      return stored && decodeBytes(stored);
    },
    has: (key) => this.#database.doesExist(key),
    list: <Value>(range: KeyRange, options?: ListOptions) => this.list<Value>(range, options),
    put: (key, value) => this.#database.putSync(key, encodeRecord(value)),
    putBytes: (key, bytes) => this.#database.putSync(key, encodeBytes(bytes)),
    remove: (key) => void this.#database.removeSync(key),
  };

  /** Past the cache: what LMDB has, whoever wrote it. */
  #findStored<Value>(key: StoreKey): Value | undefined {
    const stored = this.#database.get(key);
    return stored && decodeRecord<Value>(stored);
  }

  #assertWritable(): void {
    const obstacle = this.findObstacle();
    if (obstacle !== undefined) throw new PlatformError('storage-unavailable', obstacle);
  }

  /** Why no write is accepted now, undefined when there is no reason; free space is looked at once a second at most. */
  findObstacle(): string | undefined {
    if (this.#failure !== undefined) return 'a commit failed; this process serves no further write';
    const now = performance.now();
    if (now - this.#freeBytesCheckedAt < 1_000) return undefined;
    if (this.freeBytes() < this.#options.freeBytesMin) return 'the file system has too little free space';
    this.#freeBytesCheckedAt = now;
    return undefined;
  }

  /** What the file system has left for this user. */
  freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.#options.directory);
    return bavail * bsize;
  }

  /** Pages of the file that have been used; those that were freed are used again before it grows. */
  usedBytes(): number {
    const stats: unknown = this.#database.getStats();
    const isKnown = typeof stats === 'object' && stats !== null && 'lastPageNumber' in stats;
    return isKnown ? (Number(stats.lastPageNumber) + 1) * PAGE_BYTES : 0;
  }

  #assertNewestWriter(): void {
    const writer = this.#findStored<WriterRow>(keys.writer());
    if (writer?.epoch === this.#writerEpoch) return;
    const failure = new PlatformError('storage-unavailable', 'another process has become the writer of this store');
    this.#fail(failure);
    throw failure;
  }

  #fail(failure: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = failure;
    // What is stored now is no longer known from here.
    this.#cache.clear();
    hearCommitRejections();
    this.#options.onFailure(failure);
  }
}

/** A store with nothing but its format. */
async function makeFirstRows(path: string): Promise<void> {
  const database = lmdb.open<Buffer>({ path, ...STORE_OPTIONS });
  await database.put(keys.storeFormat(), encodeRecord({ version: STORE_FORMAT_VERSION }));
  await settlesWithin(database.close(), CLOSE_DEADLINE_MS);
}

interface WriterRow {
  readonly epoch: number;
  readonly pid: number;
}
