import type { EnvironmentRef } from '@guidon/protocol';
import type { ControlStore } from '../store/control-store.js';
import { type KeyRange, keys, lastPart } from '../store/keys.js';
import { PERIOD_MS } from './exposed-subjects.js';
import { DAY_MS, EVENT_LOG_KEPT_MS, HOUR_MS, HOURS_KEPT_MS, MINUTES_KEPT_MS } from './usage-rows.js';

/** Environments that one sweep looks at, and rows that it removes of each noun. */
const ENVIRONMENTS_PER_SWEEP = 100;
const ROWS_PER_SWEEP = 2_000;

/** Lets go of what is older than it is kept, some environments at a time, round and round. */
export class EventSweep {
  readonly #store: ControlStore;
  readonly #now: () => number;
  #after: string | undefined;
  #running: Promise<void> | undefined;

  constructor({ store, now }: { readonly store: ControlStore; readonly now: () => number }) {
    this.#store = store;
    this.#now = now;
  }

  /** One at a time; whoever asks meanwhile is given the one that runs. */
  sweep(): Promise<void> {
    this.#running ??= this.#sweep().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #sweep(): Promise<void> {
    const rows = this.#store.list<EnvironmentRef>(keys.environmentOwners(), {
      after: this.#after,
      limit: ENVIRONMENTS_PER_SWEEP,
    });
    const last = rows.at(-1);
    this.#after = last === undefined || rows.length < ENVIRONMENTS_PER_SWEEP ? undefined : String(lastPart(last.key));
    for (const { value } of rows) await this.#sweepEnvironment(value);
  }

  async #sweepEnvironment(environment: EnvironmentRef): Promise<void> {
    const now = this.#now();
    const today = Math.floor(now / DAY_MS);
    const logDay = Math.floor((now - EVENT_LOG_KEPT_MS) / DAY_MS);
    await this.#remove(keys.eventsSeen(environment), today - 1);
    await this.#remove(keys.usageMinutesRows(environment), Math.floor((now - MINUTES_KEPT_MS) / HOUR_MS));
    await this.#remove(keys.usageHoursRows(environment), Math.floor((now - HOURS_KEPT_MS) / DAY_MS));
    await this.#remove(keys.metricMinutesRows(environment), Math.floor((now - MINUTES_KEPT_MS) / HOUR_MS));
    await this.#remove(keys.metricHoursRows(environment), Math.floor((now - HOURS_KEPT_MS) / DAY_MS));
    const period = Math.floor(now / PERIOD_MS);
    await this.#remove(keys.exposedSubjects(environment), period - 1);
    await this.#remove(keys.exposedCounts(environment), period - 1);
    await this.#remove(keys.eventLogs(environment), logDay);
    await this.#remove(keys.eventLogHeads(environment), logDay);
  }

  /** Rows of days or hours before `first`, which stands behind the noun. */
  async #remove(range: KeyRange, first: number): Promise<void> {
    const rows = this.#store.list(range, { limit: ROWS_PER_SWEEP });
    const old = rows.filter(({ key }) => Number(key[range.prefix.length]) < first);
    if (old.length === 0) return;
    await this.#store.transaction((transaction) => {
      for (const { key } of old) transaction.remove(key);
    });
  }
}
