import type { Event } from '@guidon/protocol/events';
import { Backoff, EventBuffer } from '@guidon/sdk-core';
import { type NodeApi, NodeFailure } from './node-api.js';
import { VERSION } from './version.js';

/** Browsers let requests that may outlive the page have 64 KiB, all together. */
const BUFFER = { countMax: 1_000, batchCountMax: 50, batchBytesMax: 48 * 1024 };
const SEND_AFTER_MS = 10_000;
const BATCHES_PER_FLUSH_MAX = 30;
const PATH = '/v1/events';

/**
 * Events on their way to the node, at least once and never in anybody's way: sent some seconds after the first one, and when the page is left. A
 * batch under way is sent again with the same ids until a node has answered.
 */
export class EventSender {
  readonly #api: NodeApi;
  readonly #warn: (message: string, error?: unknown) => void;
  readonly #buffer = new EventBuffer(BUFFER);
  readonly #backoff = new Backoff({ firstMs: 2_000, maxMs: 60_000 });
  #timer: ReturnType<typeof setTimeout> | undefined;
  #flushing: Promise<void> | undefined;
  /** Last call for whoever sums events up before they are sent. */
  onSend: () => void = () => undefined;

  constructor(api: NodeApi, warn: (message: string, error?: unknown) => void) {
    this.#api = api;
    this.#warn = warn;
  }

  add(event: Event): void {
    if (!this.#buffer.add(event)) this.#warn(`a ${event.kind} event is no JSON, or too large`);
    this.#schedule(SEND_AFTER_MS * (0.5 + Math.random() / 2));
  }

  /** Sends what waits; resolves when it was taken, or could not be sent. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  /**
   * The page may be gone in a moment: hands everything that waits to the browser, which sends it later. Nobody learns whether it arrived, so it counts
   * as sent. The key cannot go along, a token that was asked for before can.
   */
  leave(): void {
    this.onSend();
    const token = this.#api.heldToken('events');
    if (token === undefined || typeof navigator.sendBeacon !== 'function') {
      void this.flush();
      return;
    }
    const url = `${this.#api.url}${PATH}?streamToken=${token}`;
    for (let events = this.#buffer.batch(); events.length > 0; events = this.#buffer.batch()) {
      // Of type text: for any other the browser would have to ask the node first.
      if (!navigator.sendBeacon(url, bodyOf(events))) return;
      this.#buffer.settle();
    }
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** No more timers. */
  stop(): void {
    clearTimeout(this.#timer);
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.onSend();
    for (let count = 0; count < BATCHES_PER_FLUSH_MAX; count += 1) {
      const events = this.#buffer.batch();
      if (events.length === 0) return;
      try {
        await this.#api.post(PATH, bodyOf(events), {}, { keepalive: true });
        // The page may have been left meanwhile, and the browser was handed what waited.
        if (this.#buffer.batch() === events) this.#buffer.settle();
        this.#backoff.succeeded();
      } catch (error) {
        if (!(error instanceof NodeFailure)) throw error;
        this.#failed(error);
        return;
      }
    }
    if (this.#buffer.count > 0) this.#schedule(SEND_AFTER_MS);
  }

  #failed(failure: NodeFailure): void {
    const { status } = failure;
    const isFinal = status >= 400 && status < 500 && status !== 401 && status !== 408 && status !== 429;
    if (isFinal) {
      this.#buffer.refuse();
      this.#warn(`events were refused: ${failure.code}`, failure);
    }
    if (this.#buffer.count > 0) this.#schedule(Math.max(failure.retryAfterMs, this.#backoff.failedMs()));
  }

  #schedule(ms: number): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => void this.flush(), ms);
    // For the case that the page is left before; when it does not come, the next event asks again.
    void this.#api.token('events').catch(() => undefined);
  }
}

function bodyOf(events: readonly string[]): string {
  return `{"sdk":{"name":"@guidon/browser-sdk","version":"${VERSION}"},"events":[${events.join(',')}]}`;
}
