/** Runs tasks one after another. Bounded: a task that finds the queue full is not taken (I25). */
export class SerialQueue {
  readonly #countMax: number;
  #count = 0;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  get count(): number {
    return this.#count;
  }

  /** Undefined when the queue is full; else the task's own outcome. */
  run<Outcome>(task: () => Promise<Outcome>): Promise<Outcome> | undefined {
    if (this.#count >= this.#countMax) return undefined;
    this.#count += 1;
    const outcome = this.#tail.then(task).finally(() => {
      this.#count -= 1;
    });
    this.#tail = outcome.catch(() => undefined);
    return outcome;
  }

  /** Resolves when everything taken so far is done. */
  async idle(): Promise<void> {
    await this.#tail;
  }
}

/** Lets at most `countMax` tasks run at once, over all environments; the rest wait in order. */
export class Semaphore {
  readonly #waiting: (() => void)[] = [];
  #free: number;

  constructor(countMax: number) {
    this.#free = countMax;
  }

  async run<Outcome>(task: () => Promise<Outcome>): Promise<Outcome> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await task();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}
