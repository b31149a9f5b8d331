import { PlatformError } from '@guidon/protocol';
import type { RootDatabase } from 'lmdb';
import { withCommitDeadline } from './commit-deadline.js';
import type { Row } from './row.js';
import { StagedRows } from './staged-rows.js';

/** Transactions that wait for one commit; one more is refused. */
export const GROUP_TRANSACTIONS_MAX = 1_024;
/** Stored bytes of transactions that wait for one commit; the one that passes it is the last. */
export const GROUP_BYTES_MAX = 64 * 1024 * 1024;

/** Transactions that one commit makes durable. */
interface Group {
  /** The newest form of each row, by name. */
  readonly rows: Map<string, Row>;
  readonly settled: Promise<void>;
  readonly settle: (failure?: Error) => void;
  transactionCount: number;
  bytes: number;
}

export interface GroupCommitOptions {
  readonly database: RootDatabase<Buffer>;
  readonly deadlineMs: number;
  /** Throws when the group must not be written (I6). Called inside its LMDB transaction. */
  readonly assertNewestWriter: () => void;
  /** The rows of a group are durable; called before anybody is told so. */
  readonly onDurable: (rows: Iterable<Row>) => void;
  /** Nothing is committed from now on; called before anybody is told so. */
  readonly onFailure: (failure: Error) => void;
}

/**
 * Transactions that have run and are not durable, and the commits that make them so. One group commits at a time, as one LMDB transaction; the
 * next gathers whatever is added meanwhile. The order of transactions is the order of their rows, so a kill leaves a prefix of them. A group
 * that fails fails for all of it and ends everything.
 */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  /** Everything that is not durable, of the committing group and of the open one. */
  readonly #rows = new StagedRows();
  #open: Group | undefined;
  /** The open one, else the one that was open last. */
  #last: Group | undefined;
  #committing: Promise<void> | undefined;
  #hasFailed = false;

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** What is not durable yet. */
  get rows(): StagedRows {
    return this.#rows;
  }

  /** Settles when nothing waits any more. Never rejects. */
  get idle(): Promise<void> {
    return this.#committing ?? Promise.resolve();
  }

  /** Resolves when everything added so far is durable. */
  get settled(): Promise<void> {
    return this.#last?.settled ?? Promise.resolve();
  }

  assertRoom(): void {
    const { transactionCount = 0, bytes = 0 } = this.#open ?? {};
    if (transactionCount < GROUP_TRANSACTIONS_MAX && bytes < GROUP_BYTES_MAX) return;
    throw new PlatformError('overloaded', 'too many writes wait');
  }

  /** Takes in the rows of one transaction. Resolves when they are durable. */
  add(draft: StagedRows): Promise<void> {
    this.#open ??= newGroup();
    const group = this.#open;
    this.#last = group;
    group.transactionCount += 1;
    for (const row of draft) {
      group.bytes += row.stored?.length ?? 0;
      group.rows.set(row.name, row);
      this.#rows.set(row);
    }
    this.#committing ??= this.#commitAll();
    return group.settled;
  }

  async #commitAll(): Promise<void> {
    while (this.#open !== undefined && !this.#hasFailed) await this.#commitOne();
    this.#committing = undefined;
  }

  /** Commits what is there when LMDB gets to it, which is later than now. Never rejects. */
  async #commitOne(): Promise<void> {
    const { database, deadlineMs, assertNewestWriter, onDurable } = this.#options;
    let group: Group | undefined;
    let refusal: unknown;
    const committed = database.childTransaction(() => {
      try {
        group = this.#open;
        this.#open = undefined;
        assertNewestWriter();
        for (const row of group?.rows.values() ?? []) putRow(database, row);
      } catch (error) {
        refusal = error;
        throw error;
      }
    });
    try {
      await withCommitDeadline(committed, deadlineMs);
      if (group === undefined) return;
      for (const row of group.rows.values()) this.#rows.delete(row);
      onDurable(group.rows.values());
      group.settle();
    } catch (error) {
      this.#fail(group, refusal ?? error);
    }
  }

  #fail(group: Group | undefined, cause: unknown): void {
    const failure =
      cause instanceof PlatformError
        ? cause
        : new PlatformError('storage-unavailable', 'the store could not be written', { cause });
    this.#hasFailed = true;
    this.#options.onFailure(failure);
    // A commit that never began may still begin: what it would write is out of its reach then.
    const open = this.#open;
    this.#open = undefined;
    this.#rows.clear();
    group?.settle(failure);
    open?.settle(group === undefined ? failure : new PlatformError('storage-unavailable', 'a commit before it failed'));
  }
}

function putRow(database: RootDatabase<Buffer>, { key, stored }: Row): void {
  if (stored === undefined) database.removeSync(key);
  else database.putSync(key, stored);
}

function newGroup(): Group {
  let settle: Group['settle'] = () => {};
  const settled = new Promise<void>((resolve, reject) => {
    settle = (failure) => (failure === undefined ? resolve() : reject(failure));
  });
  // Who staged hears of it; a group whose transactions nobody waits for must not end the process.
  settled.catch(() => {});
  return { rows: new Map(), settled, settle, transactionCount: 0, bytes: 0 };
}
