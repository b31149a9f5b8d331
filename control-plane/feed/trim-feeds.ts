import { setImmediate as nextTurn } from 'node:timers/promises';
import { parseTenantId, type TenantId } from '@guidon/protocol';
import type { ControlStore, ListedRow } from '../store/control-store.js';
import { keys, lastPart } from '../store/keys.js';
import { type FeedStartRow, putFeedStart } from './feed.js';
import type { FeedRow } from './feed-row.js';

/** How long rows are kept: up to an age, and up to a number however young they are. The state stands in for what is gone. */
export interface FeedRetention {
  readonly rows: number;
  readonly ms: number;
}
export const FEED_RETENTION: FeedRetention = { rows: 100_000, ms: 30 * 24 * 3_600_000 };

/** Requests of admins wait no longer than this many rows take. */
const ROWS_PER_TRANSACTION = 100;

/** Takes away what no feed has to keep, the tenants after each other, in bounded transactions. A kill between two of them leaves a shorter feed that is right. */
export class FeedTrimmer {
  readonly #store: ControlStore;
  readonly #now: () => number;
  readonly #retention: FeedRetention;
  #running: Promise<number> | undefined;
  #isClosed = false;

  constructor(store: ControlStore, now: () => number, retention: FeedRetention = FEED_RETENTION) {
    this.#store = store;
    this.#now = now;
    this.#retention = retention;
  }

  /** Answers how many rows went. One run at a time: who asks during one gets that. */
  run(): Promise<number> {
    this.#running ??= this.#trimAll().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running?.catch(() => {});
  }

  async #trimAll(): Promise<number> {
    let count = 0;
    let after: string | number | undefined;
    for (;;) {
      const [tenant] = this.#store.list(keys.tenants(), { after, limit: 1 });
      if (tenant === undefined || this.#isClosed || this.#store.failure !== undefined) return count;
      after = lastPart(tenant.key);
      count += await this.#trim(parseTenantId(after));
      await nextTurn();
    }
  }

  async #trim(tenantId: TenantId): Promise<number> {
    const range = keys.feedRows(tenantId);
    for (let count = 0; ; ) {
      const [newest] = this.#store.list<FeedRow>(range, { reverse: true, limit: 1 });
      const [oldest] = this.#store.list<FeedRow>(range, { limit: 1 });
      if (newest === undefined || oldest === undefined) return count;
      const start = this.#store.find<FeedStartRow>(keys.feedStart(tenantId))?.sequence ?? 0;
      const isOver = ({ key, value }: ListedRow<FeedRow>): boolean => {
        const sequence = Number(lastPart(key));
        const isKept =
          sequence > start &&
          sequence > Number(lastPart(newest.key)) - this.#retention.rows &&
          value.at >= this.#now() - this.#retention.ms;
        return !isKept;
      };
      if (!isOver(oldest) || this.#isClosed) return count;
      const rows = this.#store.list<FeedRow>(range, { limit: ROWS_PER_TRANSACTION });
      const kept = rows.findIndex((row) => !isOver(row));
      const gone = kept < 0 ? rows : rows.slice(0, kept);
      const last = Math.max(start, ...gone.map(({ key }) => Number(lastPart(key))));
      await this.#store.transaction((transaction) => {
        for (const { key } of gone) transaction.remove(key);
        // A tenant that is being deleted gets no row any more.
        if (transaction.has(keys.tenant(tenantId))) putFeedStart(transaction, tenantId, last);
      });
      count += gone.length;
      await nextTurn();
    }
  }
}
