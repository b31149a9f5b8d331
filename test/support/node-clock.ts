import { vi } from 'vitest';

/** The wall clock of this process, and so of the nodes that are started in it after this one is made. */
export class NodeClock {
  #stoppedAtMs: number | undefined;
  readonly #restore: () => void;

  constructor() {
    const real = Date.now;
    const spy = vi.spyOn(Date, 'now').mockImplementation(() => this.#stoppedAtMs ?? real());
    this.#restore = () => spy.mockRestore();
  }

  /** It is `nowMs` until `work` has ended. */
  async during<Result>(nowMs: number, work: () => Promise<Result>): Promise<Result> {
    this.#stoppedAtMs = nowMs;
    try {
      return await work();
    } finally {
      this.#stoppedAtMs = undefined;
    }
  }

  restore(): void {
    this.#restore();
  }
}
