import { Backoff, EVENT_LIMITS, settlesWithin } from '@guidon/protocol';
import type { Event } from '@guidon/protocol/events';
import { EventBuffer } from '@guidon/sdk-core';
import { type NodeApi, NodeFailure } from './node-api.js';
import { SDK } from './version.js';

const HEAD = `{"sdk":${JSON.stringify(SDK)},"events":[`;
const BUFFER = { countMax: 10_000, batchCountMax: 200, batchBytesMax: EVENT_LIMITS.bodyBytes - HEAD.length - 2 };
/** Up to a half earlier. */
const SEND_EVERY_MS = 10_000;

export interface EventSenderParts {
  readonly api: NodeApi;
  readonly urls: readonly string[];
  readonly warn: (message: string, error?: unknown) => void;
  /** Whoever sums events up does so now. */
  readonly onSend: () => void;
}

/**
 * Events on their way to the nodes, at least once and never in anybody's way: a batch that was not taken is sent again with the same ids, at the next
 * node, and what is over the bound of the buffer is dropped and counted (I25).
 */
export class EventSender {
  readonly #parts: EventSenderParts;
  readonly #buffer = new EventBuffer(BUFFER);
  readonly #backoff = new Backoff({ firstMs: 2_000, maxMs: 60_000 });
  #timer: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  #urlIndex = 0;
  #refusedCount = 0;
  #isClosed = false;

  constructor(parts: EventSenderParts) {
    this.#parts = parts;
    this.#schedule(SEND_EVERY_MS * (0.5 + Math.random() / 2));
  }

  /** Dropped at the bound, and refused by nodes. */
  get lostCount(): number {
    return this.#buffer.droppedCount + this.#refusedCount;
  }

  get waitingCount(): number {
    return this.#buffer.count;
  }

  add(event: Event): void {
    if (this.#isClosed || this.#buffer.add(event)) return;
    this.#parts.warn(`an event of kind ${event.kind} is no JSON, or too large: it is dropped`);
  }

  /** Sends what waits, as long as it is taken. Never rejects. */
  flush(): Promise<void> {
    this.#sending ??= this.#send().finally(() => {
      this.#sending = undefined;
    });
    return this.#sending;
  }

  /** Sends what waits, and gives up after `deadlineMs`. */
  async close(deadlineMs: number): Promise<void> {
    this.#parts.onSend();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    // One flush may have begun before the last events were added.
    const flushed = this.flush().then(() => (this.#buffer.count > 0 ? this.flush() : undefined));
    await settlesWithin(flushed, deadlineMs);
    clearTimeout(this.#timer);
  }

  async #send(): Promise<void> {
    clearTimeout(this.#timer);
    if (!this.#isClosed) this.#parts.onSend();
    let pauseMs = SEND_EVERY_MS * (0.5 + Math.random() / 2);
    try {
      for (let events = this.#buffer.batch(); events.length > 0; events = this.#buffer.batch()) {
        await this.#post(`${HEAD}${events.join(',')}]}`);
        this.#buffer.settle();
        this.#backoff.succeeded();
      }
    } catch (error) {
      this.#urlIndex += 1;
      const { status, retryAfterMs } = error instanceof NodeFailure ? error : { status: 0, retryAfterMs: 0 };
      if (status >= 400 && status < 500 && status !== 401 && status !== 404 && status !== 408 && status !== 429) {
        this.#buffer.refuse();
        this.#parts.warn('a node does not take events', error);
      }
      pauseMs = Math.max(this.#backoff.failedMs(), retryAfterMs);
    }
    this.#schedule(pauseMs);
  }

  async #post(body: string): Promise<void> {
    const { api, urls } = this.#parts;
    const answer = await api.postEvents(urls[this.#urlIndex % urls.length] ?? '', body);
    const refused = typeof answer === 'object' && answer !== null && 'refused' in answer ? answer.refused : undefined;
    if (Array.isArray(refused)) this.#refusedCount += refused.length;
  }

  #schedule(ms: number): void {
    if (this.#isClosed) return;
    this.#timer = setTimeout(() => void this.flush(), ms);
    this.#timer.unref();
  }
}
