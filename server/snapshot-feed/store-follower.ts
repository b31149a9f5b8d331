import { setImmediate as nextTurn } from 'node:timers/promises';
import type pino from 'pino';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { StoreChange } from '../snapshot-store/store-change.js';
import type { EnvironmentEntry } from './environment-entry.js';
import type { EnvironmentSet } from './environment-set.js';

export interface StoreFollowerOptions {
  readonly environments: EnvironmentSet;
  readonly store: SnapshotStore;
  readonly logger: pino.Logger;
}

const CHECK_INTERVAL_MS = 1_000;
/** Environments looked at between two turns of the event loop. */
const SCAN_SLICE = 32;
/** No change has this number: the next check looks at everything. */
const UNKNOWN = -1;

/**
 * Keeps this process at what another process of the same node writes: told of each change, and looking itself once a second, since a message
 * may be lost with whoever sent it. The store counts its changes: a message with the next number names the only environment to look
 * at, any other number means that all are looked at.
 */
export class StoreFollower {
  readonly #options: StoreFollowerOptions;
  /** The change up to which this process has read. */
  #count = UNKNOWN;
  #timer: NodeJS.Timeout | undefined;
  #scanning: Promise<void> | undefined;
  #isScanWanted = false;
  #isClosed = false;
  #hasScanned = false;

  constructor(options: StoreFollowerOptions) {
    this.#options = options;
  }

  /** Resolves when everything that the store has was looked at once. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => this.#check(), CHECK_INTERVAL_MS);
    await this.#scan();
    this.#hasScanned = true;
  }

  get hasScanned(): boolean {
    return this.#hasScanned;
  }

  /** One change, as the process that writes tells it. */
  hear({ count, environmentId }: StoreChange): void {
    if (this.#isClosed || count <= this.#count) return;
    const entry = environmentId === undefined ? undefined : this.#options.environments.find(environmentId);
    // While a scan runs it may have passed the environment already; the next one will not.
    if (entry === undefined || count !== this.#count + 1 || this.#scanning !== undefined) {
      void this.#scan();
      return;
    }
    this.#count = count;
    void this.#follow([entry]);
  }

  /** The writer has heard that what it has is the newest, except for the environments in `behind`. */
  confirm(behind: ReadonlySet<string>): void {
    if (this.#count === UNKNOWN || this.#scanning !== undefined) return; // this process is not where the writer is
    const nowMs = performance.now();
    for (const { environment, slot } of this.#options.environments.entries) {
      if (!behind.has(environment.environmentId)) slot.confirmedAtMs = nowMs;
    }
  }

  /** After `close`: brings in what was written last, by whoever has become the writer itself. */
  async readOnce(): Promise<void> {
    await this.#scanOnce();
    await this.#options.environments.idle();
  }

  /** Reads no more. What is under way ends first. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    await this.#scanning;
    await this.#options.environments.idle();
  }

  #check(): void {
    if (this.#scanning !== undefined) return;
    const count = this.#options.store.readTogether(() => this.#options.store.storedChangeCount());
    if (count !== this.#count) void this.#scan();
  }

  /** Never rejects. Asked for while it runs, it runs once more. */
  #scan(): Promise<void> {
    this.#isScanWanted = true;
    this.#scanning ??= this.#scanWhileWanted().finally(() => {
      this.#scanning = undefined;
    });
    return this.#scanning;
  }

  async #scanWhileWanted(): Promise<void> {
    while (this.#isScanWanted && !this.#isClosed) {
      this.#isScanWanted = false;
      try {
        await this.#scanOnce();
      } catch (error) {
        this.#options.logger.error({ err: error }, 'the node store could not be followed');
        this.#count = UNKNOWN;
        return;
      }
    }
  }

  async #scanOnce(): Promise<void> {
    const { store, environments } = this.#options;
    // Counted before it is read: what changes meanwhile is looked at again.
    const { count, listed } = store.readTogether(() => ({
      count: store.storedChangeCount(),
      listed: store.listEnvironments(),
    }));
    this.#count = count;
    environments.trust.restore();
    if (!environments.trust.isKnown) return;
    for (let from = 0; from < listed.length; from += SCAN_SLICE) {
      const slice = listed.slice(from, from + SCAN_SLICE);
      await this.#follow(slice.map((environment) => environments.take(environment)));
      await nextTurn();
    }
    // A store without any environment is one that could not be read, or a new one: neither says that there is nothing (I13).
    if (listed.length === 0) return;
    const named = new Set<string>(listed.map(({ environmentId }) => environmentId));
    for (const entry of environments.entries) {
      const { environmentId } = entry.environment;
      const isGone = !named.has(environmentId) && store.findState(entry.environment) === undefined;
      if (isGone) await this.#forget(entry);
    }
  }

  /** Whatever failed is looked at again with the next check. */
  async #follow(entries: readonly EnvironmentEntry[]): Promise<void> {
    const outcomes = await Promise.all(entries.map((entry) => entry.follow()));
    if (outcomes.includes('failed')) this.#count = UNKNOWN;
  }

  async #forget(entry: EnvironmentEntry): Promise<void> {
    this.#options.environments.delete(entry);
    await entry.idle();
    entry.reducer.stop();
  }
}
