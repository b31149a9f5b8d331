import { Backoff, type EnvironmentRef, PlatformError, settlesWithin } from '@guidon/protocol';
import { type EventCarrier, environmentOfLine } from '@guidon/protocol/events';
import type pino from 'pino';
import type { EventSpool, SealedSegment } from './event-spool.js';

/** Whoever takes events over HTTP: a control plane, or the node that this one is fed by. */
export interface EventSink {
  /** Lines of messages. Resolves once they are kept there. */
  postEvents(lines: string): Promise<void>;
}

export interface EventShipperOptions {
  readonly spool: EventSpool;
  readonly sink: EventSink;
  /** Tried first, as long as it is connected. */
  readonly carrier?: EventCarrier | undefined;
  readonly logger: pino.Logger;
}

/** Behind what its spool says: segments of other processes, and of those that died. */
const LOOK_INTERVAL_MS = 1_000;
const RETRY = { firstMs: 250, maxMs: 5_000 };
/** Lines of one environment that travel as one message of the bus. */
const CARRIED_BYTES_MAX = 512 * 1024;
const CLOSE_MS_MAX = 2_000;
/** After it did not take a message the bus is left alone for so long: one that lets nobody publish makes each try wait. */
const CARRIER_REST_MS = 10_000;
/** The lines themselves are refused: sent again they would be again, and hold up all others. */
const HOPELESS: ReadonlySet<string> = new Set(['malformed-body', 'validation-failed', 'payload-too-large']);

/**
 * Carries sealed segments to the control plane, oldest first, one at a time, each until somebody has kept it: at least once. The bus is faster; where
 * there is none, or it does not take a message, HTTP does the same work.
 */
export class EventShipper {
  readonly counters = { shipped: 0, refused: 0, failures: 0 };
  readonly #options: EventShipperOptions;
  readonly #backoff = new Backoff(RETRY);
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isClosed = false;
  #waitsUntilMs = 0;
  #carrierRestsUntilMs = 0;

  constructor(options: EventShipperOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.spool.onSealed(() => this.#wake(0));
    this.#wake(0);
  }

  /** What is sealed is carried on, if that takes no longer than two seconds; the rest waits for the next start. */
  async close(): Promise<void> {
    this.#options.spool.onSealed(() => undefined);
    if (this.#running === undefined && !this.#isClosed) this.#running = this.#shipAll();
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await settlesWithin(this.#running ?? Promise.resolve(), CLOSE_MS_MAX);
  }

  #wake(delayMs: number): void {
    if (this.#isClosed || this.#running !== undefined) return;
    clearTimeout(this.#timer);
    const waitMs = Math.max(delayMs, this.#waitsUntilMs - performance.now());
    this.#timer = setTimeout(() => {
      this.#running = this.#shipAll().finally(() => {
        this.#running = undefined;
        this.#wake(LOOK_INTERVAL_MS);
      });
    }, waitMs);
  }

  /** Never rejects. */
  async #shipAll(): Promise<void> {
    const { spool, logger } = this.#options;
    try {
      for (let segments = await spool.sealed(); segments.length > 0; segments = await spool.sealed()) {
        for (const segment of segments) {
          await this.#ship(segment);
          this.#backoff.succeeded();
          spool.hold(false);
        }
      }
    } catch (error) {
      this.counters.failures += 1;
      spool.hold(true);
      this.#waitsUntilMs = performance.now() + this.#backoff.failedMs();
      const level = this.#backoff.failureCount === 1 && !this.#isClosed ? 'info' : 'debug';
      logger[level]({ err: error }, 'events wait: nobody takes them now');
    }
  }

  async #ship(segment: SealedSegment): Promise<void> {
    const { spool, sink, logger } = this.#options;
    let lines: string[];
    try {
      lines = await spool.read(segment);
    } catch (error) {
      // Dropped as the oldest of too many since it was listed.
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return;
      throw error;
    }
    try {
      if (lines.length > 0 && !(await this.#carry(segment, lines))) await sink.postEvents(`${lines.join('\n')}\n`);
      this.counters.shipped += segment.eventCount;
    } catch (error) {
      if (!(error instanceof PlatformError && HOPELESS.has(error.code))) throw error;
      this.counters.refused += segment.eventCount;
      logger.error({ err: error, segment }, 'the control plane refuses events; they are dropped');
    }
    await spool.remove(segment);
  }

  /** False: not, or not wholly; whoever gets it all over HTTP then knows by the ids what it has had. */
  async #carry({ name }: SealedSegment, lines: readonly string[]): Promise<boolean> {
    const { carrier, logger } = this.#options;
    if (carrier === undefined || performance.now() < this.#carrierRestsUntilMs || !carrier.isConnected()) return false;
    try {
      let number = 0;
      for (const { environment, body } of messagesOf(lines)) {
        number += 1;
        await carrier.publish(environment, Buffer.from(body), `${name}:${number}`);
      }
      return true;
    } catch (error) {
      this.#carrierRestsUntilMs = performance.now() + CARRIER_REST_MS;
      logger.debug({ err: error }, 'the bus does not take events; they go over HTTP');
      return false;
    }
  }
}

interface Carried {
  readonly environment: EnvironmentRef;
  body: string;
  bytes: number;
}

/** Lines of the same environment together, as far as one message carries them. */
function messagesOf(lines: readonly string[]): Carried[] {
  const messages: Carried[] = [];
  const open = new Map<string, Carried>();
  for (const line of lines) {
    const environment = environmentOfLine(line);
    const bytes = Buffer.byteLength(line) + 1;
    const before = open.get(environment.environmentId);
    if (before !== undefined && before.bytes + bytes <= CARRIED_BYTES_MAX) {
      before.body += `${line}\n`;
      before.bytes += bytes;
      continue;
    }
    const message = { environment, body: `${line}\n`, bytes };
    messages.push(message);
    open.set(environment.environmentId, message);
  }
  return messages;
}
