import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** What a stream said: the members that every message begins with. */
export interface StreamHead {
  readonly type: string;
  readonly epoch: number;
  readonly revision: number;
}

export interface StreamSocketOptions {
  readonly host: string;
  readonly port: number;
  readonly key: string;
  /** msgpack of the hello. */
  readonly hello: Uint8Array;
  readonly onMessage: (socket: StreamSocket, head: StreamHead, bytes: number) => void;
  /** Once, however it ended; `status` of an answer that was no upgrade, else 0. */
  readonly onClose: (status: number) => void;
}

/** Larger messages are not compared: of them the head alone is read anyway. */
const SAME_BYTES_MAX = 4_096;
const HEAD_END = Buffer.from('\r\n\r\n');

/**
 * The least that speaks `guidon.v1.msgpack` as a client: ten thousand of them fit into two processes beside the node that they measure. Frames
 * are masked with zeros, which a server does not tell from any other mask; of messages the beginning is read alone.
 */
export class StreamSocket {
  readonly #socket: Socket;
  readonly #options: StreamSocketOptions;
  #rest: Buffer = Buffer.alloc(0);
  #isOpen = false;
  #status = 0;

  constructor(options: StreamSocketOptions) {
    this.#options = options;
    const { host, port, key } = options;
    this.#socket = connect({ host, port, noDelay: true }, () => {
      this.#socket.write(
        [
          'GET /v1/stream HTTP/1.1',
          `Host: ${host}`,
          `Authorization: Bearer ${key}`,
          'Upgrade: websocket',
          'Connection: Upgrade',
          'Sec-WebSocket-Version: 13',
          `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
          'Sec-WebSocket-Protocol: guidon.v1.msgpack',
          '',
          '',
        ].join('\r\n'),
      );
    });
    this.#socket.on('data', (chunk) => this.#take(chunk));
    this.#socket.on('error', () => undefined);
    this.#socket.once('close', () => options.onClose(this.#status));
  }

  send(payload: Uint8Array, opcode = 2): void {
    this.write(frameOf(payload, opcode));
  }

  /** As it is: of frameOf(). */
  write(frame: Uint8Array): void {
    this.#socket.write(frame);
  }

  /** At once, as a machine that goes away. */
  reset(): void {
    this.#socket.resetAndDestroy();
  }

  #take(chunk: Buffer): void {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    if (!this.#isOpen && !this.#readHandshake()) return;
    while (this.#readFrame());
  }

  #readHandshake(): boolean {
    const end = this.#rest.indexOf(HEAD_END);
    if (end < 0) return false;
    const status = Number(this.#rest.subarray(9, 12).toString());
    if (status !== 101) {
      this.#status = status;
      this.#socket.resetAndDestroy();
      return false;
    }
    this.#rest = this.#rest.subarray(end + HEAD_END.length);
    this.#isOpen = true;
    this.send(this.#options.hello);
    return true;
  }

  #readFrame(): boolean {
    const rest = this.#rest;
    if (rest.length < 2) return false;
    const short = (rest[1] ?? 0) & 0x7f;
    const from = short === 126 ? 4 : short === 127 ? 10 : 2;
    if (rest.length < from) return false;
    const length = short === 126 ? rest.readUInt16BE(2) : short === 127 ? Number(rest.readBigUInt64BE(2)) : short;
    if (rest.length < from + length) return false;
    const payload = rest.subarray(from, from + length);
    this.#rest = rest.subarray(from + length);
    const opcode = (rest[0] ?? 0) & 0x0f;
    if (opcode === 9) this.send(payload, 10);
    else if (opcode === 8) this.#socket.end();
    else if (opcode === 2) this.#options.onMessage(this, headOf(payload), from + length);
    return true;
  }
}

/** A frame as a client sends it. */
export function frameOf(payload: Uint8Array, opcode = 2): Buffer {
  const { length } = payload;
  const size = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([0x80 | opcode, ...size, 0, 0, 0, 0]), payload]);
}

/** Of the message that came last to any client: most get the same bytes after one another. */
let lastHead: { readonly payload: Buffer; readonly head: StreamHead } | undefined;

function headOf(payload: Buffer): StreamHead {
  if (payload.length > SAME_BYTES_MAX) return readHead(payload);
  if (lastHead?.payload.equals(payload) !== true) lastHead = { payload: Buffer.from(payload), head: readHead(payload) };
  return lastHead.head;
}

/** A map whose first members are type, epoch and revision; the last two are 0 where there are none. */
function readHead(payload: Buffer): StreamHead {
  let offset = 1;
  const text = (): string => {
    const bytes = (payload[offset] ?? 0) & 0x1f;
    offset += 1 + bytes;
    return payload.toString('latin1', offset - bytes, offset);
  };
  const integer = (): number => {
    const head = payload[offset] ?? 0;
    offset += 1;
    if (head <= 0x7f) return head;
    const bytes = 1 << (head - 0xcc);
    offset += bytes;
    return payload.readUIntBE(offset - bytes, bytes);
  };
  text();
  const type = text();
  if (type === 'bye') return { type, epoch: 0, revision: 0 };
  text();
  const epoch = integer();
  text();
  return { type, epoch, revision: integer() };
}
