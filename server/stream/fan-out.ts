/** Somebody who has frames to send. */
export interface FanOutLine {
  /** Sends until `deadlineMs` (performance.now()). True: there is more that can be sent now. */
  step(deadlineMs: number): boolean;
}

/** Between two turns of the event loop, in which requests are answered. */
const SLICE_MS = 1;

/**
 * Lets environments send in turns of one slice each, so that neither requests nor another tenant's streams wait for an environment with ten thousand of
 * them (I17).
 */
export class FanOut {
  readonly #lines = new Set<FanOutLine>();
  #isScheduled = false;

  get lineCount(): number {
    return this.#lines.size;
  }

  schedule(line: FanOutLine): void {
    this.#lines.add(line);
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#turn());
  }

  remove(line: FanOutLine): void {
    this.#lines.delete(line);
  }

  #turn(): void {
    this.#isScheduled = false;
    const deadlineMs = performance.now() + SLICE_MS;
    for (const line of this.#lines) {
      this.#lines.delete(line);
      if (line.step(deadlineMs)) this.schedule(line);
      if (performance.now() >= deadlineMs) break;
    }
    const [next] = this.#lines;
    if (next !== undefined) this.schedule(next);
  }
}
