/** What may be given out at once, in time. */
const BURST_SECONDS = 0.25;
/** A put costs at least so much, however small it is. */
const PUT_BYTES_MIN = 8 * 1024;

/**
 * How fast this process gives out whole configurations: thousands of clients that come back at once wait for one another instead of for a socket
 * buffer of gigabytes. A bucket of bytes, as large as one burst.
 */
export class PutBudget {
  readonly #bytesPerSecond: number;
  readonly #burstBytes: number;
  #bytes: number;
  #filledAtMs = performance.now();

  constructor(bytesPerSecond: number) {
    this.#bytesPerSecond = bytesPerSecond;
    this.#burstBytes = bytesPerSecond * BURST_SECONDS;
    this.#bytes = this.#burstBytes;
  }

  /** Milliseconds until the next put may be sent; 0: now. */
  waitMs(nowMs: number): number {
    this.#bytes = Math.min(this.#burstBytes, this.#bytes + ((nowMs - this.#filledAtMs) / 1000) * this.#bytesPerSecond);
    this.#filledAtMs = nowMs;
    return this.#bytes > 0 ? 0 : Math.ceil((-this.#bytes / this.#bytesPerSecond) * 1000) + 1;
  }

  /** One may be larger than what is left: then the next one waits longer. */
  spend(bytes: number): void {
    this.#bytes -= Math.max(bytes, PUT_BYTES_MIN);
  }
}
