import type { TenantId } from '@guidon/protocol';
import type { ControlStore, StoreReader, StoreTransaction } from '../store/control-store.js';
import { keys, lastPart } from '../store/keys.js';
import type { FeedRow, NewFeedRow } from './feed-row.js';

/** The row under `keys.feedStart`: everything up to this sequence is in no row. Absent: the feed is whole from 1. */
export interface FeedStartRow {
  readonly sequence: number;
}

/** Rows from `start + 1` to `end` are there. */
export interface FeedBounds {
  readonly start: number;
  readonly end: number;
}

/** Heads of tenants that nobody has changed for long are read from their last row again. */
const HEADS_MAX = 10_000;

/**
 * The feeds of all tenants. Rows are appended inside the transaction of their change; the head of each feed is known to the one writer there is,
 * so an append reads nothing. Whoever waits is told once rows are durable.
 */
export class Feed {
  readonly #store: ControlStore;
  /** The last sequence staged, by tenant. */
  readonly #heads = new Map<TenantId, number>();
  readonly #listeners = new Set<(tenantId: TenantId) => void>();

  constructor(store: ControlStore) {
    this.#store = store;
  }

  /** Inside the transaction of the change. Answers the new head, for `keepHead` once the transaction is staged: one that is not leaves no gap. */
  append(transaction: StoreTransaction, tenantId: TenantId, rows: readonly NewFeedRow[]): number {
    let sequence = this.#heads.get(tenantId) ?? boundsOf(transaction, tenantId).end;
    for (const row of rows) {
      sequence += 1;
      transaction.put(keys.feedRow(tenantId, sequence), { sequence, ...row } satisfies FeedRow);
    }
    return sequence;
  }

  keepHead(tenantId: TenantId, sequence: number): void {
    if (this.#heads.size >= HEADS_MAX && !this.#heads.has(tenantId)) this.#heads.clear();
    this.#heads.set(tenantId, sequence);
  }

  /** The feed of the tenant has been taken away, or begins elsewhere. */
  forgetHead(tenantId: TenantId): void {
    this.#heads.delete(tenantId);
  }

  /** What is durable. */
  bounds(tenantId: TenantId): FeedBounds {
    return boundsOf(this.#store, tenantId);
  }

  /** Durable rows behind `sequence`, in order. Look at `bounds` first: nothing here says that rows in between are gone. */
  after(tenantId: TenantId, sequence: number, limit: number): FeedRow[] {
    return this.#store.list<FeedRow>(keys.feedRows(tenantId), { after: sequence, limit }).map(({ value }) => value);
  }

  /** `listener` is called whenever a tenant has new durable rows. It must not throw. Returns how to end that. */
  onAppended(listener: (tenantId: TenantId) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Rows of the tenant have become durable. */
  announce(tenantId: TenantId): void {
    for (const listener of this.#listeners) listener(tenantId);
  }
}

function boundsOf(store: StoreReader, tenantId: TenantId): FeedBounds {
  const start = store.find<FeedStartRow>(keys.feedStart(tenantId))?.sequence ?? 0;
  const [last] = store.list<FeedRow>(keys.feedRows(tenantId), { reverse: true, limit: 1 });
  return { start, end: Math.max(start, last === undefined ? 0 : Number(lastPart(last.key))) };
}

/** Before this everything is in the state alone: for tenants that were there before there were feeds. */
export function putFeedStart(transaction: StoreTransaction, tenantId: TenantId, sequence: number): void {
  transaction.put(keys.feedStart(tenantId), { sequence } satisfies FeedStartRow);
}

/**
 * Where the feed of a tenant goes on that somebody may know another past of: after an import, or the restore of a backup. The milliseconds of now are
 * above all that a feed comes to at less than 1 000 rows a second, so whoever followed that past is told to read the state (ADR 42).
 */
export function newFeedStart(end: number, now: number): FeedStartRow {
  return { sequence: Math.max(end + 1, now) };
}
