import assert from 'node:assert';
import { type Position, STREAM_LIMITS, type StreamClose, type StreamFormat } from '@guidon/protocol/live-updates';
import type { Caller } from '../auth/access-directory.js';
import type { WebValues } from './web-values.js';

/** How frames get to the client. */
export interface StreamTransport {
  /** `refetch`: server-sent events that say only that something changed, for OFREP. */
  readonly kind: 'websocket' | 'sse' | 'refetch';
  readonly format: StreamFormat;
  /** Bytes that the socket has not taken; of SSE 1 while there are any. */
  readonly bufferedBytes: number;
  /** True when the client has acknowledged it with that: SSE, of a frame that the socket took. `at` is what the client has with it. */
  send(frame: Uint8Array, at: Position): boolean;
  /** Says that the stream lives, and that the client has `at`. */
  beat(at: Position): void;
  /** Says `bye` and ends the stream; at once where it would stand behind much that the client does not read. */
  end(close: StreamClose, reconnectAfterMs: number): void;
}

/**
 * One stream, mode by mode. A stream has one `put` or `patch` under way at most; whatever changes meanwhile is one patch to the newest afterwards, so
 * a slow client costs one frame and its lag is bounded by `slowMs` (stream-bounds.ts).
 *
 *   mode      means                                             leaves by
 *   greeting  connected, has not said hello (never SSE)         hello -> due; 5 s -> ended 4408
 *   due       in the line of its environment for a frame        its turn -> sending, or -> current when nothing differs;
 *                                                               30 s -> ended 1013 busy; ahead of this node for 1 s -> ended 4409
 *   sending   a frame is on its way (`sending` says to where)   ack -> current, or -> due when something changed meanwhile (`isStale`);
 *                                                               30 s and a second per 256 KiB -> ended 1013 slow
 *   current   the client has all there is                       a new revision, or an instant of @now -> due
 *   ended     nothing is sent any more                          never
 *
 *   any mode -> ended: malformed 4400, credential 4401, environment gone 4410, too many messages 4429, too big 1009, drain 1012, or the client left
 */
export type StreamMode = 'greeting' | 'due' | 'sending' | 'current' | 'ended';

const MOVES: Readonly<Record<StreamMode, readonly StreamMode[]>> = {
  greeting: ['due', 'ended'],
  due: ['sending', 'current', 'ended'],
  sending: ['current', 'due', 'ended'],
  current: ['due', 'ended'],
  ended: [],
};

/** Beyond the frame under way. */
export const BUFFERED_BYTES_MAX = 1024 * 1024;
const BYTES_PER_SLOW_MS = 256;

export class Stream {
  readonly caller: Caller;
  readonly transport: StreamTransport;
  /** As the client sent it, '' without one: it must stay allowed. */
  readonly origin: string;
  mode: StreamMode;
  /** `performance.now()` of the last move. */
  movedAtMs: number;
  /** What the client said it has, or acknowledged. */
  has: Position | undefined;
  sending: Position | undefined;
  sendingBytes = 0;
  /** Counted in the ledger as not taken yet. */
  heldBytes = 0;
  /** Something changed while a frame is on its way, while it waits in line or, of a `refetch` stream, while its turn to hear of it is not there yet. */
  isStale = false;
  /** All values of a `web` stream have to be evaluated, whatever changed; a `refetch` stream is told to. */
  isWholeDue = false;
  nextHeartbeatMs: number;
  /** Of a `web` stream. */
  values: WebValues | undefined;
  #messageTokens: number = STREAM_LIMITS.messageBurst;
  #messagesAtMs: number;

  constructor(caller: Caller, transport: StreamTransport, origin: string, heartbeatMs: number) {
    const nowMs = performance.now();
    this.caller = caller;
    this.transport = transport;
    this.origin = origin;
    this.mode = 'greeting';
    this.movedAtMs = nowMs;
    this.#messagesAtMs = nowMs;
    // Jittered: connections that came together do not beat together.
    this.nextHeartbeatMs = nowMs + heartbeatMs * (0.5 + Math.random() / 2);
  }

  move(mode: StreamMode, nowMs: number): void {
    assert(MOVES[this.mode].includes(mode), `a stream does not go from ${this.mode} to ${mode}`);
    this.mode = mode;
    this.movedAtMs = nowMs;
  }

  /** Counts a message of the client; false when there are too many. */
  takesMessage(nowMs: number): boolean {
    const earned = ((nowMs - this.#messagesAtMs) / 1000) * STREAM_LIMITS.messagesPerSecond;
    this.#messagesAtMs = nowMs;
    this.#messageTokens = Math.min(STREAM_LIMITS.messageBurst, this.#messageTokens + earned) - 1;
    return this.#messageTokens >= 0;
  }

  /** It takes too long over what was sent. */
  isSlow(nowMs: number, slowMs: number): boolean {
    if (this.transport.bufferedBytes > BUFFERED_BYTES_MAX + this.sendingBytes) return true;
    return this.mode === 'sending' && nowMs - this.movedAtMs > slowMs + this.sendingBytes / BYTES_PER_SLOW_MS;
  }
}
