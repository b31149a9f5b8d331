import { setTimeout as sleep } from 'node:timers/promises';
import { Backoff } from '@guidon/protocol';
import type { Position, ServerMessage } from '@guidon/protocol/live-updates';
import type { ConfigMessage } from '@guidon/protocol/signed-config';
import type { ConfigInForce } from './config-in-force.js';
import { type NodeApi, NodeFailure } from './node-api.js';
import type { Settings, StreamKind } from './settings.js';
import { type OpenStream, openEvents, openSocket } from './streams.js';
import type { Trust } from './trust.js';

export interface FollowerParts {
  readonly settings: Settings;
  readonly api: NodeApi;
  readonly config: ConfigInForce;
  readonly trust: Trust;
  readonly closing: AbortSignal;
  /** A node has said something that shows it is there and knows the key. */
  readonly onContact: () => void;
  /** The key was refused, or taken again. */
  readonly onCredential: (isRefused: boolean) => void;
}

/** The first window is wide enough that clients of a node that died do not come back within one second of each other's. */
const RECONNECT = { firstMs: 1_000, maxMs: 30_000 };
const KEYS_AGE_MS = 300_000;
/** Of the interval, so that clients that started together do not ask together. */
const POLL_JITTER = 0.25;
/** A stream that ends a moment after it began is no success. */
const LASTING_MS = 10_000;

const OPEN: Readonly<Record<Exclude<StreamKind, 'poll'>, OpenStream>> = { websocket: openSocket, sse: openEvents };

/**
 * Keeps the configuration up with the nodes: a stream, begun again with full jitter whenever it ends, over the other transport when one does not get
 * through; and beside it, always, a poll, so that the way that does not depend on a stream is exercised (I14, I15).
 */
export class Follower {
  readonly #parts: FollowerParts;
  #etag = '';
  /** Of what #etag belongs to. */
  #etagSince = '';
  /** The next stream and poll ask for everything. */
  #needsWhole = false;
  #streamUrlIndex: number;
  #pollUrlIndex: number;
  #wakePoll: () => void = () => undefined;
  #isPollDue = false;
  #isStreaming = false;
  /** Both loops; settle once closed. */
  #running: Promise<unknown> = Promise.resolve();

  constructor(parts: FollowerParts) {
    this.#parts = parts;
    // Not all clients at the first node.
    this.#streamUrlIndex = Math.floor(Math.random() * parts.settings.urls.length);
    this.#pollUrlIndex = this.#streamUrlIndex;
  }

  /** A stream is open. */
  get isStreaming(): boolean {
    return this.#isStreaming;
  }

  start(): void {
    // Beside the stream's handshake. When it fails, the first message asks again.
    void this.#parts.trust.refresh(KEYS_AGE_MS).catch(() => undefined);
    this.#running = Promise.all([this.#followStreams(), this.#poll()]);
  }

  /** Polls at once instead of when it is time. */
  pollNow(): void {
    this.#isPollDue = true;
    this.#wakePoll();
  }

  async closed(): Promise<void> {
    await this.#running;
  }

  async #followStreams(): Promise<void> {
    const { settings, api, closing } = this.#parts;
    if (settings.stream === 'poll') return;
    const kinds = settings.stream === 'websocket' ? (['websocket', 'sse'] as const) : (['sse'] as const);
    const backoff = new Backoff(RECONNECT);
    for (let tryCount = 0; !closing.aborted; ) {
      // One transport at every node, then the other one.
      const kind = kinds[Math.floor(tryCount / settings.urls.length) % kinds.length] ?? 'sse';
      const openedAtMs = performance.now();
      const end = await OPEN[kind](this.#url(this.#streamUrlIndex), api, this.#user, closing);
      this.#isStreaming = false;
      this.#parts.onCredential(end.isCredentialRefused);
      if (end.wasOpen && performance.now() - openedAtMs > LASTING_MS) backoff.succeeded();
      // Nothing came through: another transport, another node, and ask without a stream meanwhile.
      tryCount = end.wasOpen ? 0 : tryCount + 1;
      this.#streamUrlIndex += 1;
      if (!end.wasOpen) this.pollNow();
      await this.#pause(Math.max(backoff.failedMs(), end.reconnectAfterMs * (1 + Math.random())));
    }
  }

  readonly #user = {
    position: () => (this.#needsWhole ? undefined : this.#parts.config.position),
    opened: () => {
      this.#isStreaming = true;
    },
    hear: (message: ServerMessage) => this.#hear(message),
  };

  async #hear(message: ServerMessage): Promise<boolean> {
    const isFrame = message.type === 'put' || message.type === 'patch';
    if (!isFrame) {
      this.#parts.onContact();
      return true;
    }
    if (!('config' in message)) return false;
    return this.#take(message.config);
  }

  async #poll(): Promise<void> {
    const { settings, closing } = this.#parts;
    const backoff = new Backoff({ firstMs: 1_000, maxMs: settings.pollMs });
    // A stream brings the first configuration, but says nothing to who has the newest already, from the disk.
    const isDueNow = settings.stream === 'poll' || this.#parts.config.position !== undefined;
    let pauseMs = isDueNow ? 0 : settings.pollMs * (1 - POLL_JITTER * Math.random());
    while (!closing.aborted) {
      await this.#pause(pauseMs, true);
      if (closing.aborted) return;
      this.#isPollDue = false;
      try {
        const isWholeDue = !(await this.#pollOnce(this.#url(this.#pollUrlIndex)));
        backoff.succeeded();
        // What the delta did not fit is asked for as a whole at once, and if that is of no use either, when it is time.
        pauseMs = isWholeDue && pauseMs > 0 ? 0 : settings.pollMs * (1 - POLL_JITTER * Math.random());
      } catch (error) {
        // Whatever a node sends that cannot be read is a failure of that node.
        this.#pollUrlIndex += 1;
        const isRefused = error instanceof NodeFailure && error.isCredentialRefused;
        if (isRefused) this.#parts.onCredential(true);
        const retryAfterMs = error instanceof NodeFailure ? error.retryAfterMs : 0;
        pauseMs = Math.max(isRefused ? settings.pollMs : backoff.failedMs(), retryAfterMs);
      }
    }
  }

  /** False: everything has to be asked for. */
  async #pollOnce(url: string): Promise<boolean> {
    const { api, config, trust } = this.#parts;
    await trust.refresh(KEYS_AGE_MS);
    const since: Position | undefined = this.#needsWhole ? undefined : config.position;
    const name = since === undefined ? '' : `${since.epoch}.${since.revision}`;
    const answer = await api.config(url, since, this.#etagSince === name ? this.#etag : '');
    this.#parts.onCredential(false);
    if (answer.kind !== 'config') {
      this.#parts.onContact();
      return true;
    }
    this.#etag = answer.etag;
    this.#etagSince = name;
    if (await this.#take(answer.config)) return true;
    this.#etag = '';
    return !this.#needsWhole;
  }

  /** False: it was of no use. */
  async #take(config: ConfigMessage): Promise<boolean> {
    const outcome = await this.#parts.config.receive(config);
    if (outcome === 'fetch-whole') this.#needsWhole = true;
    if (outcome !== 'activated' && outcome !== 'ignored') return false;
    this.#needsWhole = false;
    this.#parts.onContact();
    return true;
  }

  #url(index: number): string {
    const { urls } = this.#parts.settings;
    return urls[index % urls.length] ?? '';
  }

  /** Ends early when the client is closed, and when a poll is asked for. */
  async #pause(ms: number, isPoll = false): Promise<void> {
    const { closing } = this.#parts;
    const wake = new AbortController();
    if (isPoll) this.#wakePoll = () => wake.abort();
    if (isPoll && this.#isPollDue) return;
    await sleep(ms, undefined, { signal: AbortSignal.any([closing, wake.signal]) }).catch(() => undefined);
  }
}
