export interface PageLifeListener {
  /** Somebody looks at the page again. */
  wake(): void;
  /** Nobody has looked at it for a while, or it is put aside. */
  sleep(): void;
  /** The browser says that there is a network again, or none any more. */
  network(): void;
  /** It may be the last that is heard of the page. */
  leave(): void;
}

/** A page that nobody looks at stays connected for so long. */
const HIDDEN_MS_MAX = 60_000;

/** What happens to the page: it is shown and hidden, put aside and taken back, and left. */
export class PageLife {
  readonly #listener: PageLifeListener;
  readonly #abort = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isAwake = true;

  constructor(listener: PageLifeListener) {
    this.#listener = listener;
    const { signal } = this.#abort;
    document.addEventListener('visibilitychange', () => this.#seen(), { signal });
    document.addEventListener('freeze', () => this.#sleep(), { signal });
    document.addEventListener('resume', () => this.#seen(), { signal });
    addEventListener('pageshow', () => this.#seen(), { signal });
    addEventListener('pagehide', () => this.#leave(), { signal });
    for (const name of ['online', 'offline']) {
      addEventListener(name, () => this.#isAwake && listener.network(), { signal });
    }
    this.#seen();
  }

  get isAwake(): boolean {
    return this.#isAwake;
  }

  close(): void {
    this.#abort.abort();
    clearTimeout(this.#timer);
  }

  #seen(): void {
    clearTimeout(this.#timer);
    if (document.visibilityState === 'hidden') {
      this.#listener.leave();
      this.#timer = setTimeout(() => this.#sleep(), HIDDEN_MS_MAX);
    } else if (!this.#isAwake) {
      this.#isAwake = true;
      this.#listener.wake();
    }
  }

  #leave(): void {
    this.#listener.leave();
    this.#sleep();
  }

  #sleep(): void {
    clearTimeout(this.#timer);
    if (!this.#isAwake) return;
    this.#isAwake = false;
    this.#listener.sleep();
  }
}
