const BYTES_PER_SECOND = 64 * 1024 * 1024;
const BURST_BYTES = 16 * 1024 * 1024;
/** A put costs at least so much, however small it is. */
const PUT_BYTES_MIN = 8 * 1024;

/**
 * How fast this process gives out whole configurations: thousands of clients that come back at once wait for one another instead of for a socket
 * buffer of gigabytes. A bucket of bytes, as large as one burst.
 */
export class PutBudget {
  #bytes = BURST_BYTES;
  #filledAtMs = performance.now();

  /** Milliseconds until the next put may be sent; 0: now. */
  waitMs(nowMs: number): number {
    this.#bytes = Math.min(BURST_BYTES, this.#bytes + ((nowMs - this.#filledAtMs) / 1000) * BYTES_PER_SECOND);
    this.#filledAtMs = nowMs;
    return this.#bytes > 0 ? 0 : Math.ceil((-this.#bytes / BYTES_PER_SECOND) * 1000) + 1;
  }

  /** One may be larger than what is left: then the next one waits longer. */
  spend(bytes: number): void {
    this.#bytes -= Math.max(bytes, PUT_BYTES_MIN);
  }
}
