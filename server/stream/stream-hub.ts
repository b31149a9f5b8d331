import { encodeJsonRequest } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import {
  type ClientMessage,
  comparePositions,
  type Position,
  STREAM_CLOSE,
  STREAM_LIMITS,
  type StreamClose,
} from '@guidon/protocol/live-updates';
import type { AccessDirectory, Caller } from '../auth/access-directory.js';
import type { ConfigViews } from '../config/config-views.js';
import type { EnvironmentSlot } from '../environment-slot.js';
import { EnvironmentStreams, type FanOutParts } from './environment-streams.js';
import { FanOut } from './fan-out.js';
import { PutBudget } from './put-budget.js';
import { Stream, type StreamTransport } from './stream.js';
import { STREAM_BOUNDS, type StreamBounds } from './stream-bounds.js';
import { WebValues } from './web-values.js';

export interface StreamHubParts
  extends Pick<
    FanOutParts,
    'kernel' | 'residency' | 'evaluation' | 'inlineCostMax' | 'ledger' | 'bodies' | 'now' | 'onError'
  > {
  readonly views: ConfigViews;
  readonly directory: AccessDirectory;
  readonly bounds?: Partial<StreamBounds>;
}

const SWEEP_INTERVAL_MS = 250;
/** A node that lags a little behind another one catches up. */
const AHEAD_MS_MAX = 1_000;
/** Clients that were told to go come back within so much, each at a time of its own. */
const RECONNECT_MS_MIN = 1_000;
const RECONNECT_MS_MAX = 30_000;
const RECONNECT_MS_PER_STREAM = 2;
const DRAIN_MS_MAX = 5_000;
const DRAIN_SLICE = 100;

/**
 * Every stream of this process: who may open one, what it hears, when it ends. Streams live in the process that accepted them; each process of a node
 * has all environments, so each has a hub of its own.
 */
export class StreamHub {
  readonly counters = {
    opened: { websocket: 0, sse: 0, refetch: 0 },
    /** Frames with config or values. */
    frames: 0,
    refusedConnects: 0,
    closed: new Map<string, number>(),
  };
  readonly #parts: StreamHubParts;
  readonly #bounds: StreamBounds;
  readonly #fanOut = new FanOut();
  readonly #fanOutParts: FanOutParts;
  readonly #environments = new Map<EnvironmentSlot, { streams: EnvironmentStreams; unwatch: () => void }>();
  readonly #streams = new Set<Stream>();
  readonly #sweep: NodeJS.Timeout;
  #connectTokens: number;
  #connectsAtMs = performance.now();
  #isDraining = false;

  constructor(parts: StreamHubParts) {
    this.#parts = parts;
    this.#bounds = { ...STREAM_BOUNDS, ...parts.bounds };
    this.#connectTokens = this.#bounds.connectBurst;
    this.#fanOutParts = {
      ...parts,
      counters: this.counters,
      fanOut: this.#fanOut,
      budget: new PutBudget(this.#bounds.putBytesPerSecond),
      end: (stream, close) => this.end(stream, close),
    };
    parts.directory.onChange((slot) => this.#keysChanged(slot));
    this.#sweep = setInterval(() => this.#sweepAll(performance.now()), SWEEP_INTERVAL_MS);
    this.#sweep.unref();
  }

  get count(): number {
    return this.#streams.size;
  }

  get waitingCount(): number {
    let count = 0;
    for (const { streams } of this.#environments.values()) count += streams.waitingCount;
    return count;
  }

  countOf(kind: StreamTransport['kind']): number {
    let count = 0;
    for (const { transport } of this.#streams) if (transport.kind === kind) count += 1;
    return count;
  }

  /** Of an environment: streams, and those whose client has acknowledged at least `position`. */
  propagationOf(slot: EnvironmentSlot, position: Position): { readonly streams: number; readonly current: number } {
    const streams = this.#environments.get(slot)?.streams;
    return { streams: streams?.streams.size ?? 0, current: streams?.countAt(position) ?? 0 };
  }

  /** Throws `overloaded` when too many connect at once. Called before anything is known of the sender, so that a storm costs little. */
  admitConnect(): void {
    const { connectsPerSecond, connectBurst } = this.#bounds;
    const nowMs = performance.now();
    const earned = ((nowMs - this.#connectsAtMs) / 1000) * connectsPerSecond;
    this.#connectTokens = Math.min(connectBurst, this.#connectTokens + earned);
    this.#connectsAtMs = nowMs;
    if (!this.#isDraining && this.#connectTokens >= 1) {
      this.#connectTokens -= 1;
      return;
    }
    this.counters.refusedConnects += 1;
    throw TOO_MANY_CONNECTS;
  }

  /** A stream of an authenticated caller who was counted in. */
  open(caller: Caller, transport: StreamTransport, origin: string): Stream {
    const stream = new Stream(caller, transport, origin, this.#bounds.heartbeatMs);
    this.counters.opened[transport.kind] += 1;
    this.#streams.add(stream);
    this.#take(caller.slot).streams.add(stream);
    return stream;
  }

  #take(slot: EnvironmentSlot): EnvironmentStreams {
    const known = this.#environments.get(slot);
    if (known !== undefined) return known.streams;
    const { views } = this.#parts;
    const streams = new EnvironmentStreams(slot, () => views.of(slot), this.#fanOutParts);
    this.#environments.set(slot, { streams, unwatch: views.watch(slot, () => streams.changed('all')) });
    return streams;
  }

  /** What a client said. Throws `malformed-body` for what it may not say now. */
  hear(stream: Stream, message: ClientMessage): void {
    if (message.type === 'hello') {
      if (stream.mode !== 'greeting') throw new PlatformError('malformed-body', 'hello was said already');
      this.begin(stream, message.since, this.valuesFor(stream.caller, message.context));
      return;
    }
    const { sending } = stream;
    if (sending !== undefined && comparePositions(message, sending) === 0) {
      this.#take(stream.caller.slot).acknowledged(stream, performance.now());
      return;
    }
    const isOld = stream.has !== undefined && comparePositions(message, stream.has) <= 0;
    if (!isOld) throw new PlatformError('malformed-body', 'what was acknowledged was not sent');
  }

  /** Of a client key: its values for `context`, none sent yet. Throws `malformed-body` and `payload-too-large`. */
  valuesFor({ entry }: Caller, context: unknown): WebValues | undefined {
    if (entry.kind === 'web') return new WebValues(requestOf(context));
    if (context !== undefined) throw new PlatformError('malformed-body', 'a context is for client keys');
    return undefined;
  }

  /** The client has said what it has and what it wants. */
  begin(stream: Stream, since: Position | undefined, values: WebValues | undefined): void {
    stream.has = since;
    stream.values = values;
    this.#take(stream.caller.slot).enqueue(stream, performance.now());
  }

  /** The socket took everything. */
  drained(stream: Stream): void {
    this.#environments.get(stream.caller.slot)?.streams.release(stream);
  }

  /** SSE: what the socket took counts as acknowledged. */
  taken(stream: Stream): void {
    if (stream.mode === 'sending') this.#take(stream.caller.slot).acknowledged(stream, performance.now());
  }

  end(stream: Stream, close: StreamClose): void {
    if (stream.mode === 'ended') return;
    this.left(stream, String(close.code));
    stream.transport.end(close, this.#reconnectAfterMs());
  }

  /** The client is gone, or is about to be. */
  left(stream: Stream, why = 'left'): void {
    if (stream.mode === 'ended') return;
    stream.move('ended', performance.now());
    this.counters.closed.set(why, (this.counters.closed.get(why) ?? 0) + 1);
    this.#streams.delete(stream);
    const { slot } = stream.caller;
    const known = this.#environments.get(slot);
    known?.streams.release(stream);
    known?.streams.remove(stream);
    if (known === undefined || known.streams.streams.size > 0) return;
    known.unwatch();
    known.streams.close();
    this.#environments.delete(slot);
  }

  #reconnectAfterMs(): number {
    const spreadMs = Math.min(RECONNECT_MS_MAX, this.#streams.size * RECONNECT_MS_PER_STREAM + RECONNECT_MS_MIN);
    return Math.floor(Math.random() * spreadMs);
  }

  /** Keys of the environment may have ended, and origins may have been taken away. */
  #keysChanged(slot: EnvironmentSlot): void {
    for (const stream of this.#environments.get(slot)?.streams.streams ?? []) {
      if (slot.accessList === undefined) this.end(stream, STREAM_CLOSE.gone);
      else if (!this.#mayStay(stream)) this.end(stream, STREAM_CLOSE.credential);
    }
  }

  #mayStay({ caller, origin }: Stream): boolean {
    const { directory, now } = this.#parts;
    const present = directory.findCaller(caller.entry.credentialId, now);
    if (present === undefined || present.slot !== caller.slot) return false;
    const { kind, allowedOrigins } = present.entry;
    return kind !== 'web' || origin === '' || allowedOrigins.includes('*') || allowedOrigins.includes(origin);
  }

  #sweepAll(nowMs: number): void {
    for (const stream of this.#streams) {
      const close = this.#overdue(stream, nowMs);
      if (close !== undefined) this.end(stream, close);
      else if (stream.nextHeartbeatMs <= nowMs) this.#beat(stream, nowMs);
    }
  }

  #overdue(stream: Stream, nowMs: number): StreamClose | undefined {
    const { mode, movedAtMs, caller } = stream;
    if (mode === 'greeting' && nowMs - movedAtMs > STREAM_LIMITS.helloMs) return STREAM_CLOSE.noHello;
    if (stream.isSlow(nowMs, this.#bounds.slowMs)) return STREAM_CLOSE.slow;
    const { notAfter } = caller.entry;
    if (notAfter !== null && this.#parts.now() >= notAfter) return STREAM_CLOSE.credential;
    if (mode !== 'due') return undefined;
    const { serving } = caller.slot;
    if (stream.has !== undefined && serving !== undefined && comparePositions(stream.has, serving) > 0) {
      return nowMs - movedAtMs > AHEAD_MS_MAX ? STREAM_CLOSE.ahead : undefined;
    }
    if (nowMs - movedAtMs > this.#bounds.waitingMs) return STREAM_CLOSE.busy;
    this.#environments.get(caller.slot)?.streams.retryAside(stream);
    return undefined;
  }

  /** Says where the client is by now, also when nothing changed for its context. Who does not take what was sent needs no more. */
  #beat(stream: Stream, nowMs: number): void {
    stream.nextHeartbeatMs = nowMs + this.#bounds.heartbeatMs * (0.9 + Math.random() / 5);
    const { transport, mode } = stream;
    if (mode === 'greeting' || transport.bufferedBytes > 0) return;
    const at = stream.has ?? { epoch: 0, revision: 0 };
    transport.beat(at);
  }

  /** No new streams; the present ones are told to go, spread over as long as there are many, and when to come back. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    const streams = [...this.#streams];
    const pauseMs = Math.min(DRAIN_MS_MAX / (streams.length / DRAIN_SLICE), 50);
    for (let from = 0; from < streams.length; from += DRAIN_SLICE) {
      for (const stream of streams.slice(from, from + DRAIN_SLICE)) this.end(stream, STREAM_CLOSE.draining);
      if (from + DRAIN_SLICE < streams.length) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const { streams, unwatch } of this.#environments.values()) {
      unwatch();
      streams.close();
    }
  }
}

// Made once: whoever floods us must not make us write a stack trace for each.
const TOO_MANY_CONNECTS = new PlatformError('overloaded', 'Too many streams are being opened; come back in a moment.');

/** What the kernel evaluates for a stream. */
function requestOf(context: unknown = {}): Uint8Array {
  if (typeof context !== 'object' || context === null || Array.isArray(context))
    throw new PlatformError('malformed-body', 'the context of a stream is an object');
  const body = encodeJsonRequest({ context });
  if (body.length <= STREAM_LIMITS.contextBytes) return body;
  throw new PlatformError(
    'payload-too-large',
    `The context of a stream has at most ${STREAM_LIMITS.contextBytes} bytes.`,
  );
}
