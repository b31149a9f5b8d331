import type { EnvironmentDigests } from '@guidon/protocol/signed-config';

/** Shorter than what the wrapper of the routes lets an answer take. */
const WAIT_MS = 4_000;
/** Changes that come close together wake once. */
const GATHER_MS = 10;
/** Who waits, of all that are fed from here (I25). */
export const WAITERS_MAX = 256;

interface Waiter {
  readonly root: string;
  readonly answer: (root: string) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * Who is fed from this node and waits until its digests are others than theirs: a long poll. What they then hear is a root to compare, and no
 * more; they fetch and verify as with any other poll.
 */
export class DigestWaiters {
  readonly #digests: EnvironmentDigests;
  readonly #waiters = new Set<Waiter>();
  #gathering: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(digests: EnvironmentDigests) {
    this.#digests = digests;
  }

  get count(): number {
    return this.#waiters.size;
  }

  get isFull(): boolean {
    return this.#waiters.size >= WAITERS_MAX;
  }

  /** Resolves with the root as soon as it is another one than `root`, else when the wait is over or `signal` aborts. */
  wait(root: string, signal: AbortSignal): Promise<string> {
    const now = this.#digests.root();
    if (now !== root || this.#isClosed || signal.aborted) return Promise.resolve(now);
    return new Promise((resolve) => {
      const leave = (): void => waiter.answer(root);
      const waiter: Waiter = {
        root,
        answer: (answer) => {
          clearTimeout(waiter.timer);
          signal.removeEventListener('abort', leave);
          this.#waiters.delete(waiter);
          resolve(answer);
        },
        timer: setTimeout(leave, WAIT_MS),
      };
      this.#waiters.add(waiter);
      signal.addEventListener('abort', leave);
    });
  }

  /** The digests may have changed. */
  changed(): void {
    if (this.#waiters.size === 0) return;
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      const root = this.#digests.root();
      for (const waiter of this.#waiters) if (waiter.root !== root) waiter.answer(root);
    }, GATHER_MS);
  }

  /** Nobody waits any longer: this process drains. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#gathering);
    for (const waiter of this.#waiters) waiter.answer(waiter.root);
  }
}
