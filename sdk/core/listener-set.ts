import { PlatformError } from '@guidon/protocol';

/** More than that is a listener that is added again and again. */
const LISTENER_COUNT_MAX = 10_000;

/**
 * Listeners of one event. One that throws does not keep the others from hearing: what it threw goes to `onThrow`. Those added or removed while
 * it is told are heard, or left out, from the next time on.
 */
export class ListenerSet<Args extends readonly unknown[]> {
  readonly #listeners = new Set<{ readonly listener: (...args: Args) => void }>();
  readonly #onThrow: (error: unknown) => void;

  constructor(onThrow: (error: unknown) => void) {
    this.#onThrow = onThrow;
  }

  get count(): number {
    return this.#listeners.size;
  }

  /** The same function added twice is told twice. Returns what removes it. Throws `limit-exceeded` over 10 000. */
  add(listener: (...args: Args) => void): () => void {
    if (this.#listeners.size >= LISTENER_COUNT_MAX)
      throw new PlatformError('limit-exceeded', `there are ${LISTENER_COUNT_MAX} listeners already`);
    const entry = { listener };
    this.#listeners.add(entry);
    return () => {
      this.#listeners.delete(entry);
    };
  }

  tell(...args: Args): void {
    for (const { listener } of new Set(this.#listeners)) {
      try {
        listener(...args);
      } catch (error) {
        this.#onThrow(error);
      }
    }
  }

  clear(): void {
    this.#listeners.clear();
  }
}
