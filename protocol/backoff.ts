/** Full jitter: a random part of an exponentially growing window, so that what failed together does not come back together (I25). */
export class Backoff {
  readonly #firstMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #failureCount = 0;

  constructor(options: { firstMs: number; maxMs: number; random?: () => number }) {
    this.#firstMs = options.firstMs;
    this.#maxMs = options.maxMs;
    this.#random = options.random ?? Math.random;
  }

  get failureCount(): number {
    return this.#failureCount;
  }

  /** How long to wait after one more failure. Never less than a tenth of the first window. */
  failedMs(): number {
    const windowMs = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#failureCount, 30));
    this.#failureCount += 1;
    return Math.max(this.#firstMs / 10, windowMs * this.#random());
  }

  succeeded(): void {
    this.#failureCount = 0;
  }
}
