const TICK_MS = 10;

/**
 * Monotonic milliseconds that cost a request one memory read: asking the system costs more than the whole look-up of a credential. Late by at
 * most one tick, or by as long as the event loop was busy; what is granted by it comes late, never early.
 */
export class CoarseClock {
  nowMs = Math.floor(performance.now());
  readonly #timer: NodeJS.Timeout;

  constructor() {
    this.#timer = setInterval(() => {
      this.nowMs = Math.floor(performance.now());
    }, TICK_MS);
    this.#timer.unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
