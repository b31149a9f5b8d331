import type { Logger } from 'pino';
import { type Actor, scopeOf } from '../admin-api/actor.js';
import type { Action } from '../admin-api/policy.js';
import type { ControlStore } from '../store/control-store.js';
import type { RequestOrigin } from './audit-entry.js';
import { appendAuditEntry } from './audit-store.js';

const WINDOW_MS = 60_000;
/** Per credential and window. What is beyond is counted in the log only, so that nobody fills the chain by knocking. */
const DENIALS_PER_WINDOW_MAX = 20;
const CREDENTIALS_TRACKED_MAX = 10_000;
const WAITING_MAX = 100;

/** What was refused to whom. */
export interface Denial {
  readonly actor: Actor;
  readonly action: Action;
  readonly requestId: string;
  readonly from: RequestOrigin;
}

/** Records refusals in the refused actor's own chain. Not awaited by the request: a refusal takes as long as a true miss. */
export class DenialRecorder {
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

  record({ actor, action, requestId, from }: Denial): void {
    const { credentialId, kind, name } = actor;
    this.#logger.info({ requestId, credentialId, kind, action }, 'authz.denied');
    if (!this.#mayRecord(credentialId)) return;
    this.#waiting += 1;
    this.#store
      .transaction((transaction) =>
        appendAuditEntry(transaction, scopeOf(actor), {
          at: this.#now(),
          actor: { kind, credentialId, name },
          requestId,
          from,
          action: 'authz.denied',
          subject: action,
          summary: `Refused ${action}`,
          comment: '',
          diff: [],
          beforeDigest: '',
          afterDigest: '',
          environments: [],
        }),
      )
      .catch((error: unknown) => this.#logger.warn({ err: error, credentialId }, 'a refusal was not recorded'))
      .finally(() => {
        this.#waiting -= 1;
      });
  }

  #mayRecord(credentialId: string): boolean {
    const now = performance.now();
    if (now - this.#windowFrom >= WINDOW_MS || this.#counts.size >= CREDENTIALS_TRACKED_MAX) {
      this.#counts.clear();
      this.#windowFrom = now;
    }
    const count = (this.#counts.get(credentialId) ?? 0) + 1;
    this.#counts.set(credentialId, count);
    return count <= DENIALS_PER_WINDOW_MAX && this.#waiting < WAITING_MAX;
  }
}
