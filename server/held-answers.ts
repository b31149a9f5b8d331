import type { QuotaLedger } from './quota/quota-ledger.js';

/** An answer of which its client has taken a part. */
export interface HeldAnswer {
  /** Ends its connection at once. */
  drop(): void;
}

/** On average one answer per so many bytes is written in the way that says whether the client reads. */
const BYTES_PER_CHECK = 16 * 1024;
/** What uWS writes around a body. */
const HEAD_BYTES = 256;
/** How long a client may take over one answer. */
const HELD_MS_MAX = 30_000;

/**
 * Answers that lie here because their clients do not read them. uWS keeps what a socket does not take without telling anybody, however much it
 * is; only its `tryEnd` tells, at three times the price of `end`. So every answer of BYTES_PER_CHECK or more is written with `tryEnd`, and a
 * smaller one with a chance in proportion to its bytes: unseen a client collects about twice that, then its rest is held here, counted, and
 * its next request ends the connection. The chance is random, so that nobody can step around it. Bench `http evaluate/msgpack`.
 */
export class HeldAnswers {
  /** Connections closed because they were over a bound or took too long. */
  droppedCount = 0;
  readonly #ledger: QuotaLedger;
  readonly #held = new Map<
    HeldAnswer,
    { readonly account: number; readonly bytes: number; readonly sinceMs: number }
  >();
  #bytesToCheck = BYTES_PER_CHECK;

  constructor(ledger: QuotaLedger) {
    this.#ledger = ledger;
  }

  get count(): number {
    return this.#held.size;
  }

  /** Whether the answer with a body of so many bytes is one that looks. */
  isCheckDue(bodyBytes: number): boolean {
    this.#bytesToCheck -= bodyBytes + HEAD_BYTES;
    if (this.#bytesToCheck > 0) return false;
    this.#bytesToCheck = Math.random() * 2 * BYTES_PER_CHECK;
    return true;
  }

  /** False when that is too much: then the connection has to go. */
  hold(answer: HeldAnswer, account: number, bytes: number): boolean {
    if (!this.#ledger.canHold(account)) {
      this.droppedCount += 1;
      return false;
    }
    this.#ledger.hold(account, bytes);
    this.#held.set(answer, { account, bytes, sinceMs: performance.now() });
    return true;
  }

  /** The client took it all, or is gone. */
  release(answer: HeldAnswer): void {
    const held = this.#held.get(answer);
    if (held === undefined) return;
    this.#held.delete(answer);
    this.#ledger.unhold(held.account, held.bytes);
  }

  dropOverdue(nowMs: number): void {
    for (const [answer, { sinceMs }] of this.#held) {
      if (nowMs - sinceMs < HELD_MS_MAX) continue;
      this.droppedCount += 1;
      answer.drop();
    }
  }
}
