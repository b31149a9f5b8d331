import type { WebSocket } from 'uWebSockets.js';
import { decodeStrictMsgpack } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import {
  type ClientMessage,
  type Position,
  parseClientMessage,
  STREAM_CLOSE,
  STREAM_LIMITS,
  STREAM_PROTOCOLS,
  STREAM_TOKEN_PROTOCOL_PREFIX,
  type StreamClose,
  type StreamFormat,
} from '@guidon/protocol/live-updates';
import { encodeBye, encodeHeartbeat } from '@guidon/protocol/msgpack';
import type { AccessDirectory, Caller } from '../auth/access-directory.js';
import { assertOrigin } from '../cors.js';
import type { GetTarget, SocketRoute } from '../get-route.js';
import type { QuotaLedger } from '../quota/quota-ledger.js';
import type { Reply } from '../reply.js';
import type { RequestHead } from '../request-head.js';
import { parseJsonBody } from '../routes/request-body.js';
import { BUFFERED_BYTES_MAX, type Stream, type StreamTransport } from './stream.js';
import type { StreamHub } from './stream-hub.js';

export interface StreamParts {
  readonly hub: StreamHub;
  readonly directory: AccessDirectory;
  readonly ledger: QuotaLedger;
  readonly now: () => number;
}

/** Of one socket, from the handshake on. */
export interface SocketData {
  readonly format: StreamFormat;
  readonly origin: string;
  /** Absent: the socket was opened to be told why it may not stay; browsers do not see an HTTP status. */
  readonly caller: Caller | undefined;
  readonly refusal: StreamClose | undefined;
  stream: Stream | undefined;
  isClosed: boolean;
}

/** uWS itself ends a socket over this without a code (M15): ours is below it, so that the client hears 1009. */
export const SOCKET_MESSAGE_BYTES_MAX = 2 * STREAM_LIMITS.messageBytes;

/** `GET /v1/stream`: live updates over a WebSocket (wire.md). A server key gets definitions, a client key values for its context. */
export class StreamSocketRoute implements SocketRoute<SocketData> {
  readonly path = '/v1/stream';
  readonly #parts: StreamParts;
  #lastAck: { readonly format: StreamFormat; readonly bytes: Buffer; readonly message: ClientMessage } | undefined;

  constructor(parts: StreamParts) {
    this.#parts = parts;
  }

  accept(head: RequestHead, reply: Reply, target: GetTarget): { data: SocketData; protocol: string } {
    const { hub, ledger } = this.#parts;
    admitStream(hub, reply);
    const format = formatOf(target.protocols);
    if (format === undefined) {
      const names = Object.values(STREAM_PROTOCOLS).join(' or ');
      throw new PlatformError('malformed-request', `Offer the subprotocol ${names}.`);
    }
    const { origin } = head;
    const caller = this.#findCaller(head, target);
    if (caller !== undefined) assertStreamOrigin(caller, origin, reply);
    const isOver = caller !== undefined && ledger.enter(caller) > 0;
    const refusal = caller === undefined ? STREAM_CLOSE.credential : isOver ? STREAM_CLOSE.rate : undefined;
    const data: SocketData = {
      format,
      origin,
      caller: refusal === undefined ? caller : undefined,
      refusal,
      stream: undefined,
      isClosed: false,
    };
    return { data, protocol: STREAM_PROTOCOLS[format] };
  }

  /** Undefined for every reason for which a credential or token is refused; a node that does not know yet throws `not-ready`. */
  #findCaller(head: RequestHead, { protocols }: GetTarget): Caller | undefined {
    const { directory, now } = this.#parts;
    const offered = protocols.find((protocol) => protocol.startsWith(STREAM_TOKEN_PROTOCOL_PREFIX));
    try {
      return offered === undefined
        ? directory.authenticate(head, now)
        : directory.authenticateToken(offered.slice(STREAM_TOKEN_PROTOCOL_PREFIX.length), 'websocket', now);
    } catch (error) {
      if (error instanceof PlatformError && error.code === 'invalid-credentials') return undefined;
      throw error;
    }
  }

  open(socket: WebSocket<SocketData>): void {
    const data = socket.getUserData();
    const transport = new SocketTransport(socket, data);
    if (data.caller === undefined) transport.end(data.refusal ?? STREAM_CLOSE.credential, RETRY_MS);
    else data.stream = this.#parts.hub.open(data.caller, transport, data.origin);
  }

  message(socket: WebSocket<SocketData>, message: ArrayBuffer): void {
    const { stream, format } = socket.getUserData();
    if (stream === undefined || stream.mode === 'ended') return;
    const { hub } = this.#parts;
    if (!stream.takesMessage(performance.now())) hub.end(stream, STREAM_CLOSE.rate);
    else if (message.byteLength > STREAM_LIMITS.messageBytes) hub.end(stream, STREAM_CLOSE.tooBig);
    else {
      try {
        hub.hear(stream, this.#parse(Buffer.from(message), format));
      } catch (error) {
        const isOurs = !(error instanceof PlatformError) && !(error instanceof RangeError);
        if (isOurs) throw error;
        const isTooBig = error instanceof PlatformError && error.code === 'payload-too-large';
        hub.end(stream, isTooBig ? STREAM_CLOSE.tooBig : STREAM_CLOSE.malformed);
      }
    }
  }

  /** After a change thousands of clients say the same: they acknowledge the same revision in the same bytes. */
  #parse(bytes: Buffer, format: StreamFormat): ClientMessage {
    const last = this.#lastAck;
    if (last !== undefined && last.format === format && last.bytes.equals(bytes)) return last.message;
    const message = parseClientMessage(decode(bytes, format));
    // uWS takes its bytes back.
    if (message.type === 'ack') this.#lastAck = { format, bytes: Buffer.from(bytes), message };
    return message;
  }

  ping(socket: WebSocket<SocketData>): void {
    const { stream } = socket.getUserData();
    if (stream !== undefined && !stream.takesMessage(performance.now())) this.#parts.hub.end(stream, STREAM_CLOSE.rate);
  }

  drain(socket: WebSocket<SocketData>): void {
    const { stream } = socket.getUserData();
    if (stream !== undefined && socket.getBufferedAmount() === 0) this.#parts.hub.drained(stream);
  }

  close(socket: WebSocket<SocketData>): void {
    const data = socket.getUserData();
    data.isClosed = true;
    if (data.stream !== undefined) this.#parts.hub.left(data.stream);
    if (data.caller !== undefined) this.#parts.ledger.leave(data.caller);
  }
}

const RETRY_MS = 1_000;

class SocketTransport implements StreamTransport {
  readonly kind = 'websocket';
  readonly format: StreamFormat;
  readonly #socket: WebSocket<SocketData>;
  readonly #data: SocketData;

  constructor(socket: WebSocket<SocketData>, data: SocketData) {
    this.#socket = socket;
    this.#data = data;
    this.format = data.format;
  }

  get bufferedBytes(): number {
    return this.#data.isClosed ? 0 : this.#socket.getBufferedAmount();
  }

  send(frame: Uint8Array): boolean {
    if (!this.#data.isClosed) this.#socket.send(frame, this.format === 'msgpack');
    return false;
  }

  beat(at: Position): void {
    this.send(encodeHeartbeat(this.format, at));
  }

  end({ code, reason }: StreamClose, reconnectAfterMs: number): void {
    if (this.#data.isClosed) return;
    // uWS keeps what was sent until the client takes it or a minute has passed: that much only for a little.
    if (this.bufferedBytes > BUFFERED_BYTES_MAX) {
      this.#socket.close();
      return;
    }
    this.#socket.send(encodeBye(this.format, reason, reconnectAfterMs), this.format === 'msgpack');
    this.#socket.end(code, reason);
  }
}

function formatOf(protocols: readonly string[]): StreamFormat | undefined {
  if (protocols.includes(STREAM_PROTOCOLS.msgpack)) return 'msgpack';
  return protocols.includes(STREAM_PROTOCOLS.json) ? 'json' : undefined;
}

function decode(bytes: Uint8Array, format: StreamFormat): unknown {
  if (format === 'json') return parseJsonBody(bytes);
  const decoded = decodeStrictMsgpack(bytes);
  if (decoded.ok) return decoded.value;
  throw new PlatformError('malformed-body', decoded.detail);
}

/** Throws `overloaded` with a time to come back that is not everybody's. */
export function admitStream(hub: StreamHub, reply: Reply): void {
  reply.retryAfterSeconds = 1 + Math.floor(Math.random() * 5);
  hub.admitConnect();
  reply.retryAfterSeconds = 0;
}

/**
 * A page may not open a stream with a key that is not for it: no cookie is read here, yet a key that a page of another origin got hold of stays
 * useless there. Server keys have no business in a page at all.
 */
export function assertStreamOrigin({ entry }: Caller, origin: string, reply: Reply): void {
  if (origin === '') return;
  if (entry.kind === 'srv') throw new PlatformError('forbidden', 'A server credential may not be used by a page.');
  assertOrigin(entry, origin, reply);
}
