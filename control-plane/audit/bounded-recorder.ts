import type { Logger } from 'pino';
import type { ControlStore } from '../store/control-store.js';
import { INSTALLATION, keys, type Scope } from '../store/keys.js';
import type { AuditEntry } from './audit-entry.js';
import { appendAuditEntry } from './audit-store.js';

const WINDOW_MS = 60_000;
/** Per source and window. What is beyond is in the log only, so that nobody fills an audit log by knocking. */
const ENTRIES_PER_WINDOW_MAX = 20;
const SOURCES_TRACKED_MAX = 10_000;
const WAITING_MAX = 100;

/** Writes audit entries of what was refused, which changes nothing and is therefore no commit. Not awaited by the request: a refusal takes as long as a true miss. */
export class BoundedRecorder {
  readonly #store: ControlStore;
  readonly #logger: Logger;
  readonly #now: () => number;
  #windowFrom = performance.now();
  readonly #counts = new Map<string, number>();
  #waiting = 0;

  constructor(store: ControlStore, logger: Logger, now: () => number) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
  }

  /** `source`: whom the entry counts against. */
  record(
    source: string,
    owner: Scope,
    entry: Pick<AuditEntry, 'actor' | 'requestId' | 'from' | 'action' | 'subject' | 'summary'>,
  ): void {
    if (!this.#mayRecord(source)) return;
    this.#waiting += 1;
    this.#store
      .transaction((transaction) => {
        // The tenant may have been deleted meanwhile: nothing is written below it any more.
        if (owner !== INSTALLATION && !transaction.has(keys.tenant(owner))) return;
        appendAuditEntry(transaction, owner, {
          at: this.#now(),
          ...entry,
          comment: '',
          diff: [],
          beforeDigest: '',
          afterDigest: '',
          environments: [],
        });
      })
      .catch((error: unknown) => this.#logger.warn({ err: error, action: entry.action }, 'a refusal was not recorded'))
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  #mayRecord(source: string): boolean {
    const now = performance.now();
    if (now - this.#windowFrom >= WINDOW_MS || this.#counts.size >= SOURCES_TRACKED_MAX) {
      this.#counts.clear();
      this.#windowFrom = now;
    }
    const count = (this.#counts.get(source) ?? 0) + 1;
    this.#counts.set(source, count);
    return count <= ENTRIES_PER_WINDOW_MAX && this.#waiting < WAITING_MAX;
  }
}
