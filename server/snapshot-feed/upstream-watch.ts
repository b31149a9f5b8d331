import { Backoff, type BusStatus, type BusSubscriber, type ChangeHints, PlatformError } from '@guidon/protocol';

/** Between two questions, however often the upstream changes. */
const SPACING_MS = 50;
const RETRY = { firstMs: 500, maxMs: 8_000 } as const;
/** An upstream that does not take the question, such as a control plane, is asked again after so long: it may have been replaced. */
const UNSUPPORTED_MS = 60_000;

/**
 * What a bus is to a node, an open question is to an edge: the upstream answers when something has changed, and the poll comes forward. A hint and
 * no more: the poll runs beside it with the same work each time (I14, I15), and what it brings is verified there.
 */
export class UpstreamWatch implements ChangeHints {
  readonly #awaitChange: (root: string) => Promise<string>;
  #status: BusStatus = { kind: 'upstream', isConnected: false, detail: 'not asked yet' };

  /** `awaitChange` resolves with the root of the upstream's digests: when it is another one than `root`, else after some seconds. */
  constructor(awaitChange: (root: string) => Promise<string>) {
    this.#awaitChange = awaitChange;
  }

  /** The question that is open ends with the source, whose owner closes it. */
  subscribe(subscriber: BusSubscriber): () => void {
    const stop = new AbortController();
    void this.#watch(subscriber, stop.signal);
    return () => stop.abort();
  }

  status(): BusStatus {
    return this.#status;
  }

  /** Never rejects. */
  async #watch(subscriber: BusSubscriber, signal: AbortSignal): Promise<void> {
    const backoff = new Backoff(RETRY);
    let known = '';
    while (!signal.aborted) {
      let pauseMs = SPACING_MS;
      try {
        const root = await this.#awaitChange(known);
        if (signal.aborted) return;
        backoff.succeeded();
        this.#status = { kind: 'upstream', isConnected: true, detail: 'the upstream answers' };
        if (root !== known) subscriber.resumed();
        known = root;
      } catch (error) {
        const isUnsupported = error instanceof PlatformError && error.code === 'not-found';
        const detail = error instanceof Error ? error.message : String(error);
        this.#status = { kind: 'upstream', isConnected: false, detail };
        pauseMs = isUnsupported ? UNSUPPORTED_MS : backoff.failedMs();
      }
      await pause(pauseMs, signal);
    }
  }
}

/** Shorter when `signal` aborts. */
function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    timer.unref();
    signal.addEventListener('abort', end);
  });
}
