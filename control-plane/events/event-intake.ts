import { setImmediate as nextTurn } from 'node:timers/promises';
import { PlatformError } from '@guidon/protocol';
import { decodeEventMessage, eventLines, type ReceivedEvents } from '@guidon/protocol/events';
import type { Logger } from 'pino';
import type { ControlStore } from '../store/control-store.js';
import { type EventOutcome, writeEvents } from './event-writer.js';

interface Waiting {
  readonly messages: readonly ReceivedEvents[];
  readonly bytes: number;
  readonly resolve: (outcome: EventOutcome) => void;
  readonly reject: (error: Error) => void;
}

/** Of what waits to be written; beyond it whoever sends keeps what he has. */
const WAITING_BYTES_MAX = 64 * 1024 * 1024;
/** In one transaction, about 10 ms: the admin API is answered between two. */
const EVENTS_PER_WRITE = 500;
const NOTHING: EventOutcome = { accepted: 0, duplicates: 0, homeless: 0 };

/**
 * Where events come in, from the bus and over HTTP: written in batches, none of them audited, in transactions of their own that join the store's
 * groups. Whoever gave them hears once they are durable.
 */
export class EventIntake {
  readonly counters = { accepted: 0, duplicates: 0, homeless: 0, refused: 0 };
  readonly #store: ControlStore;
  readonly #logger: Logger;
  readonly #now: () => number;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #working: Promise<void> | undefined;

  constructor({
    store,
    logger,
    now,
  }: { readonly store: ControlStore; readonly logger: Logger; readonly now: () => number }) {
    this.#store = store;
    this.#logger = logger;
    this.#now = now;
  }

  /**
   * Lines that are no message, and events that are none, are dropped and counted: they would never become any. Rejects with `overloaded` when too
   * much waits, with what the store says when it takes nothing.
   */
  take(body: string): Promise<EventOutcome> {
    if (this.#waitingBytes + body.length > WAITING_BYTES_MAX) {
      return Promise.reject(new PlatformError('overloaded', 'too many events wait to be written'));
    }
    const messages = eventLines(body).flatMap((line) => this.#decode(line));
    if (messages.length === 0) return Promise.resolve(NOTHING);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ messages, bytes: body.length, resolve, reject });
      this.#waitingBytes += body.length;
      this.#working ??= this.#work();
    });
  }

  /** Resolves when what was taken has been written. */
  async close(): Promise<void> {
    await this.#working;
  }

  #decode(line: string): ReceivedEvents[] {
    try {
      const message = decodeEventMessage(line);
      this.counters.refused += message.refused.length;
      return [message];
    } catch (error) {
      this.counters.refused += 1;
      this.#logger.warn({ err: error }, 'a line of a node is no message of events');
      return [];
    }
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      this.#waitingBytes -= next.bytes;
      try {
        next.resolve(await this.#write(next.messages));
      } catch (error) {
        next.reject(error instanceof Error ? error : new Error(String(error)));
      }
    }
    this.#working = undefined;
  }

  async #write(messages: readonly ReceivedEvents[]): Promise<EventOutcome> {
    let outcome = NOTHING;
    for (const part of partsOf(messages)) {
      const written = await this.#store.transaction((transaction) => writeEvents(transaction, part, this.#now()));
      outcome = {
        accepted: outcome.accepted + written.accepted,
        duplicates: outcome.duplicates + written.duplicates,
        homeless: outcome.homeless + written.homeless,
      };
      this.counters.accepted += written.accepted;
      this.counters.duplicates += written.duplicates;
      this.counters.homeless += written.homeless;
      await nextTurn();
    }
    return outcome;
  }
}

/** Messages of EVENTS_PER_WRITE events together; larger ones are cut. */
function* partsOf(messages: readonly ReceivedEvents[]): Generator<ReceivedEvents[]> {
  let part: ReceivedEvents[] = [];
  let count = 0;
  for (const message of messages) {
    for (let from = 0; from < message.events.length; ) {
      const events = message.events.slice(from, from + EVENTS_PER_WRITE - count);
      part.push({ ...message, events });
      from += events.length;
      count += events.length;
      if (count < EVENTS_PER_WRITE) continue;
      yield part;
      part = [];
      count = 0;
    }
  }
  if (part.length > 0) yield part;
}
