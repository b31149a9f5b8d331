import assert from 'node:assert/strict';
import { PlatformError, settlesWithin } from '@guidon/protocol';
import type pino from 'pino';
import { keys, type StoreKey } from './keys.js';
import { type Environment, openEnvironment } from './lmdb-environment.js';
import { prepareStoreDirectory } from './store-directory.js';

/** One write; without a value, a removal. */
export interface RowChange {
  readonly key: StoreKey;
  readonly value?: Uint8Array;
}

/**
 * What a process does with the store: it is the only one there (`sole`), writes while others read (`writer`), or reads what another writes
 * (`reader`). Who starts several processes looks for damage before, a process on its own does it itself.
 */
export type StoreRole = 'sole' | 'writer' | 'reader';

const COMMIT_DEADLINE_MS = 2_000;
const CLOSE_DEADLINE_MS = 1_000;
/** A commit of this many bytes is given one second more. */
const COMMIT_BYTES_PER_SECOND = 20 * 1024 * 1024;
/** Puts between two turns of the event loop: about 1 ms. */
const PUTS_PER_SLICE = 250;
/** Writers that are remembered as ended; one before all these has long since lost its process. */
const ENDED_COUNT_MAX = 1_000;

/**
 * Rows by key, with an answer for a disk that does not take them: what cannot be written stays in memory, is read from there, and goes with
 * the next commit. So a full disk costs the next restart its newest revision, never an evaluation (I12). States:
 *
 *   healthy --commit fails--> degraded --commit succeeds--> healthy
 *   healthy, degraded --commit does not settle (M3), or another writer came--> broken: no further write is tried in this process
 *
 * One process of a node writes, the others read. Each writer has a number, its term, one above the last; it starts by marking the term
 * before as ended, and every commit is conditional on its own not being so. A writer that was stopped, replaced and woken up again
 * therefore changes nothing, whoever thought that it was dead (I6, I7).
 */
export class RowStore {
  #environment: Environment;
  readonly #directory: string;
  readonly #logger: pino.Logger;
  #isReader: boolean;
  /** Number of this writer; 0 as long as it has not looked who came before. */
  #term = 0;
  #hasTakenOver = false;
  #isReadingTogether = false;
  /** By key text; without a value, removed. Bounded by what is on disk and what the node serves: rows replace each other. */
  readonly #unwritten = new Map<string, RowChange>();
  #status: 'healthy' | 'degraded' | 'broken' = 'healthy';
  #queue: Promise<void> = Promise.resolve();

  private constructor(directory: string, environment: Environment, isReader: boolean, logger: pino.Logger) {
    this.#directory = directory;
    this.#environment = environment;
    this.#isReader = isReader;
    this.#logger = logger;
  }

  static async open(directory: string, role: StoreRole, logger: pino.Logger): Promise<RowStore> {
    if (role === 'sole') await prepareStoreDirectory(directory, logger);
    const isReader = role === 'reader';
    const store = new RowStore(directory, openEnvironment(directory, { readOnly: isReader }), isReader, logger);
    if (!isReader) await store.#takeOver();
    return store;
  }

  /** Another process writes it. */
  get isReader(): boolean {
    return this.#isReader;
  }

  /** Of a reader: from now on this process writes. Throws when LMDB does not let go of what was open. */
  async becomeWriter(): Promise<void> {
    assert(this.#isReader, 'a reader becomes the writer');
    const isClosed = await settlesWithin(this.#environment.close(), CLOSE_DEADLINE_MS);
    if (!isClosed) throw new PlatformError('storage-unavailable', 'the node store cannot be opened for writing');
    this.#environment = openEnvironment(this.#directory);
    this.#isReader = false;
    await this.#takeOver();
  }

  get status(): 'healthy' | 'degraded' | 'broken' {
    return this.#status;
  }

  /** Rows that are in memory only. */
  get unwrittenCount(): number {
    return this.#unwritten.size;
  }

  /**
   * Runs `read` on one state of the store, the newest, and keeps no page of it afterwards: a reader that is stopped (SIGSTOP, a debugger, a
   * machine that swaps) between two turns of its event loop holds nothing that the writer would have to grow the file around (M7).
   */
  readTogether<Result>(read: () => Result): Result {
    // Nobody else changes what the writer sees.
    if (!this.#isReader || this.#isReadingTogether) return read();
    this.#environment.resetReadTxn();
    this.#isReadingTogether = true;
    try {
      return read();
    } finally {
      this.#isReadingTogether = false;
      this.#environment.resetReadTxn();
    }
  }

  /** Of the writer: frees what processes that died while they were reading still hold (M7). */
  forgetDeadReaders(): void {
    const count = this.#environment.readerCheck();
    if (count > 0) this.#logger.info({ count }, 'dead readers of the node store were forgotten');
  }

  /** Pages of the file that are in use or kept for reuse; free ones among them. */
  usage(): { usedBytes: number } {
    const stats: unknown = this.#environment.getStats();
    const pages =
      typeof stats === 'object' && stats !== null && 'lastPageNumber' in stats ? Number(stats.lastPageNumber) + 1 : 0;
    return { usedBytes: pages * 4096 };
  }

  /** A copy of the row. */
  find(key: StoreKey): Uint8Array | undefined {
    return this.readTogether(() => {
      const borrowed = this.findBorrowed(key);
      return borrowed === undefined ? undefined : Uint8Array.from(borrowed);
    });
  }

  /** The row where it lies in the mapped file: valid until the next read of any row. */
  findBorrowed(key: StoreKey): Uint8Array | undefined {
    const unwritten = this.#unwritten.get(textOf(key));
    if (unwritten !== undefined) return unwritten.value;
    try {
      const row = this.#environment.getBinaryFast([...key]);
      // Its `length` is the row, the array behind it is longer.
      return row?.subarray(0, row.length);
    } catch (error) {
      this.#fail(error, 'a row cannot be read');
      return undefined;
    }
  }

  /** The keys that extend `prefix`. */
  list(prefix: StoreKey): StoreKey[] {
    const found = new Map<string, StoreKey>();
    try {
      for (const key of this.#environment.getKeys({ start: [...prefix] })) {
        if (!prefix.every((part, index) => key[index] === part)) break;
        found.set(textOf(key), key);
      }
    } catch (error) {
      this.#fail(error, 'rows cannot be listed');
    }
    for (const [text, { key, value }] of this.#unwritten) {
      if (value === undefined) found.delete(text);
      else if (prefix.every((part, index) => key[index] === part)) found.set(text, key);
    }
    return [...found.values()];
  }

  /**
   * All or none of `changes`, durable when this resolves to true. False: they are in memory only. `loose` rows are written first, in
   * slices: rows named by their content, which nothing refers to until `changes` is committed.
   */
  commit(changes: readonly RowChange[], loose: readonly RowChange[] = []): Promise<boolean> {
    assert(!this.#isReader, 'only the writer writes');
    const result = this.#queue.then(() => this.#commit(changes, loose));
    this.#queue = result.then(() => undefined);
    return result;
  }

  async close(): Promise<void> {
    await this.#queue;
    // A broken LMDB never settles its promises (M3).
    if (this.#status === 'broken') return;
    // Everything is durable by now. lmdb-js sometimes does not come back from closing; the end of the process closes as well.
    if (await settlesWithin(this.#environment.close(), CLOSE_DEADLINE_MS)) return;
    this.#logger.warn('the node store did not close in time; it is left to the end of the process');
  }

  async #commit(changes: readonly RowChange[], loose: readonly RowChange[]): Promise<boolean> {
    if (this.#status === 'broken') return this.#keep([...loose, ...changes]);
    try {
      // Older rows first and on their own: they are whole commits, and one of them may remove what `loose` brings back.
      if (!this.#hasTakenOver) await this.#takeOver();
      await this.#write([...this.#unwritten.values()]);
      this.#unwritten.clear();
      // A small change is one commit: each writes the pages that its rows lie in.
      const last = loose.length % PUTS_PER_SLICE;
      for (let index = 0; index < loose.length - last; index += PUTS_PER_SLICE) {
        await this.#write(loose.slice(index, index + PUTS_PER_SLICE));
      }
      await this.#write([...loose.slice(loose.length - last), ...changes]);
    } catch (error) {
      this.#fail(error, 'a commit failed; serving goes on from memory');
      return this.#keep([...loose, ...changes]);
    }
    if (this.#status === 'degraded') this.#logger.info('the node store takes writes again');
    this.#status = 'healthy';
    return true;
  }

  /** Ends the term before. A disk that takes no writes does not stop a start: it is tried again with each commit (I12). */
  async #takeOver(): Promise<void> {
    const ended = this.list(keys.allEnded());
    if (this.#term === 0) this.#term = Number(ended.at(-1)?.at(-1) ?? 0) + 2;
    const before = keys.ended(this.#term - 1);
    const forgotten = ended.slice(0, Math.max(0, ended.length - ENDED_COUNT_MAX));
    try {
      await this.#write([{ key: before, value: Uint8Array.of(1) }, ...forgotten.map((key) => ({ key }))], before);
      this.#hasTakenOver = true;
    } catch (error) {
      this.#fail(error, 'the store cannot be taken over yet');
    }
  }

  /** All or none, and none when a row stands at `unless`. */
  async #write(changes: readonly RowChange[], unless: StoreKey = keys.ended(this.#term)): Promise<void> {
    if (changes.length === 0) return;
    const bytes = changes.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    const deadlineMs = COMMIT_DEADLINE_MS + (bytes / COMMIT_BYTES_PER_SECOND) * 1000;
    let timer: NodeJS.Timeout | undefined;
    const deadline = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        this.#status = 'broken';
        reject(new Error(`a commit did not settle within ${Math.round(deadlineMs)} ms`));
      }, deadlineMs);
    });
    try {
      if (await Promise.race([this.#batch(changes, unless), deadline])) return;
      this.#status = 'broken';
      throw new PlatformError('storage-unavailable', 'another process has become the writer of this store');
    } finally {
      clearTimeout(timer);
    }
  }

  #batch(changes: readonly RowChange[], unless: StoreKey): Promise<boolean> {
    // The writes of a batch share few promises, which reject beside the batch's own (M2): unheard, they would end the process.
    const writes = new Set<Promise<unknown>>();
    const batch = this.#environment.ifNoExists([...unless], () => {
      for (const { key, value } of changes) {
        writes.add(
          value === undefined ? this.#environment.remove([...key]) : this.#environment.put([...key], asBuffer(value)),
        );
      }
    });
    for (const write of writes) write.catch(hearCause);
    batch.catch(hearCause);
    return batch;
  }

  #keep(changes: readonly RowChange[]): false {
    for (const change of changes) {
      const text = textOf(change.key);
      // The removal of a row that the disk does not have is nothing to remember: there would be more with each revision.
      if (change.value === undefined && !this.#isOnDisk(change.key)) this.#unwritten.delete(text);
      else this.#unwritten.set(text, change);
    }
    if (this.#status === 'healthy') this.#status = 'degraded';
    return false;
  }

  #isOnDisk(key: StoreKey): boolean {
    try {
      return this.#environment.doesExist([...key]);
    } catch {
      return true; // a key or a disk that cannot be asked: the commit that comes next says so
    }
  }

  #fail(error: unknown, what: string): void {
    this.#logger.error({ err: error }, `node store: ${what}`);
    if (this.#status === 'healthy') this.#status = 'degraded';
  }
}

const textOf = (key: StoreKey): string => key.join('\0');

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Why a commit failed is itself a promise that rejects. */
function hearCause(error: unknown): void {
  const cause: unknown = error instanceof Error && 'commitError' in error ? error.commitError : undefined;
  if (cause instanceof Promise) cause.catch(() => undefined);
}
