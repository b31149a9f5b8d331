/** So that what an application does wrong in each of its requests does not fill its log. */
const EVERY_MS = 60_000;

/** Warns of each thing at most once a minute: messages are told apart, of which there are a handful, errors are not. */
export class RareWarnings {
  readonly #warn: (message: string, error?: unknown) => void;
  readonly #now: () => number;
  readonly #warnedAtMs = new Map<string, number>();

  /** `now`: monotonic milliseconds. */
  constructor(warn: (message: string, error?: unknown) => void, now = () => performance.now()) {
    this.#warn = warn;
    this.#now = now;
  }

  warn(message: string, error?: unknown): void {
    const nowMs = this.#now();
    if (nowMs - (this.#warnedAtMs.get(message) ?? Number.NEGATIVE_INFINITY) < EVERY_MS) return;
    this.#warnedAtMs.set(message, nowMs);
    this.#warn(message, error);
  }
}
