import { Backoff } from '@guidon/sdk-core';
import type { EvaluatedFlag } from './browser-client.js';
import type { ValuesPosition } from './flag-values.js';
import { type NodeApi, NodeFailure } from './node-api.js';
import { type OpenStream, openStream, type StreamTransport } from './open-stream.js';
import { isResult } from './stored-values.js';

export interface ValueStreamParts {
  readonly api: NodeApi;
  readonly contextText: string;
  /** The way that is tried first. */
  readonly transport: StreamTransport;
  readonly position: () => ValuesPosition | undefined;
  readonly onValues: (results: Iterable<EvaluatedFlag>, at: ValuesPosition) => void;
  /** The node has said that there is nothing new. */
  readonly onConfirmed: () => void;
  readonly onFailure: (failure: NodeFailure) => void;
}

const BACKOFF = { firstMs: 1_000, maxMs: 30_000 };
/** Nodes beat every 15 s, and let a newcomer wait for 30 s. */
const SILENCE_MS_MAX = 40_000;
/** Attempts in a row on one transport without a word before the next one is tried. */
const MUTE_ATTEMPTS_MAX = 2;
/** When no transport says a word, polling alone goes on, and the first one is tried again. */
const MUTE_REST_MS = 300_000;
/** A key that is refused may be allowed again. */
const REFUSED_REST_MS = 60_000;
/** They would end the next stream too: what is polled is what there is. */
const FINAL_REASONS: ReadonlySet<unknown> = new Set(['too-big', 'malformed']);

/**
 * Values as a node pushes them, for one context. There is one stream at a time:
 *
 *   idle      stopped, or ended for good                        restart, kick -> starting
 *   starting  a token is asked for                              it came -> open; it did not -> resting
 *   open      a stream is there, or on its way                  end, silence -> resting; restart -> starting
 *   resting   a timer runs                                      it is over, restart, kick -> starting
 *
 * Full jitter after whatever the node did not time itself (I25).
 */
export class ValueStream {
  readonly #parts: ValueStreamParts;
  readonly #backoff = new Backoff(BACKOFF);
  #transport: StreamTransport;
  #stream: OpenStream | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Raised by each start and stop: what an older one waits for comes too late. */
  #round = 0;
  #muteCount = 0;
  /** What the node has sent, which may be older than what is held. */
  #results = new Map<string, EvaluatedFlag>();

  constructor(parts: ValueStreamParts) {
    this.#parts = parts;
    this.#transport = parts.transport;
  }

  /** The node can be reached: does not rest any longer. Nothing happens to a stream that is open. */
  kick(): void {
    if (this.#stream === undefined) this.restart();
  }

  /** The network is another one: what is open may lead nowhere. */
  restart(): void {
    this.#transport = this.#parts.transport;
    this.#muteCount = 0;
    void this.#start();
  }

  stop(): void {
    this.#round += 1;
    clearTimeout(this.#timer);
    this.#stream?.close();
    this.#stream = undefined;
  }

  async #start(): Promise<void> {
    this.stop();
    const round = this.#round;
    const { api, contextText, position } = this.#parts;
    try {
      const token = await api.token(this.#transport);
      if (round !== this.#round) return;
      const start = { url: api.url, token, contextText, since: position() };
      const stream = openStream(this.#transport, start, {
        heard: (text) => this.#hear(stream, text),
        ended: () => this.#lost(),
      });
      this.#stream = stream;
      this.#watch();
    } catch (error) {
      if (round !== this.#round) return;
      // A URL that is none, or a context that makes none, is the same as a node that is not there.
      const failure = error instanceof NodeFailure ? error : new NodeFailure('unreachable');
      this.#parts.onFailure(failure);
      const isRefused = failure.status === 401 || failure.status === 403;
      this.#rest(isRefused ? jittered(REFUSED_REST_MS) : Math.max(failure.retryAfterMs, this.#backoff.failedMs()));
    }
  }

  #hear(stream: OpenStream, text: string): void {
    this.#watch();
    const message = membersOf(text);
    const { type, epoch, revision, results, removed } = message;
    if (type === 'bye') {
      this.#leave(message);
      return;
    }
    if (typeof epoch !== 'number' || typeof revision !== 'number') return;
    this.#muteCount = 0;
    this.#backoff.succeeded();
    if (type === 'heartbeat') this.#parts.onConfirmed();
    if (type !== 'put' && type !== 'patch') return;
    if (type === 'put') this.#results = new Map();
    if (Array.isArray(removed)) for (const flagKey of removed) this.#results.delete(String(flagKey));
    if (Array.isArray(results)) for (const result of results.filter(isResult)) this.#results.set(result.flag, result);
    stream.acknowledge({ epoch, revision });
    this.#parts.onValues(this.#results.values(), { epoch, revision });
  }

  /** The node ends the stream, and says when to come back. */
  #leave({ reason, reconnectAfterMs }: Readonly<Record<string, unknown>>): void {
    this.stop();
    if (FINAL_REASONS.has(reason)) return;
    if (reason === 'credential') this.#parts.api.forgetToken(this.#transport);
    const askedMs = typeof reconnectAfterMs === 'number' ? reconnectAfterMs : 0;
    this.#rest(Math.max(askedMs, this.#backoff.failedMs()));
  }

  /** Without a word. */
  #lost(): void {
    this.stop();
    this.#parts.onFailure(new NodeFailure('unreachable'));
    this.#muteCount += 1;
    if (this.#muteCount < MUTE_ATTEMPTS_MAX) {
      this.#rest(this.#backoff.failedMs());
      return;
    }
    this.#muteCount = 0;
    const hasNext = this.#transport === 'websocket';
    this.#transport = hasNext ? 'sse' : this.#parts.transport;
    this.#rest(hasNext ? this.#backoff.failedMs() : jittered(MUTE_REST_MS));
  }

  #watch(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#lost(), SILENCE_MS_MAX);
  }

  #rest(ms: number): void {
    this.#timer = setTimeout(() => void this.#start(), ms);
  }
}

/** So that what begins together does not go on together (I25). */
export const jittered = (ms: number): number => ms * (0.75 + Math.random() / 4);

function membersOf(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? Object.fromEntries(Object.entries(value)) : {};
  } catch {
    return {};
  }
}
