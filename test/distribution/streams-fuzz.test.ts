import { randomBytes } from 'node:crypto';
import { connect } from 'node:net';
import { encode } from '@msgpack/msgpack';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { StreamClient } from '../support/stream-client.js';
import { StreamedPlatform, type StreamedTenant, WEB_ORIGIN } from '../support/streamed-platform.js';

/**
 * Frames that no client of ours sends, over real sockets: the process lives, the stream beside goes on, and each connection ends or is held to its
 * bounds (M15). A connection says what may be said, some frames of it, and then something that may not.
 */
const FRAME_COUNT = process.env.GUIDON_DEEP === '1' ? 1_000_000 : 50_000;
const FRAMES_PER_CONNECTION = 20;
const CONCURRENCY = 32;

let platform: StreamedPlatform;
let a: StreamedTenant;
const seed = randomBytes(4).readUInt32BE();
let state = seed;

beforeAll(async () => {
  platform = await StreamedPlatform.start({ streams: { connectsPerSecond: 1_000_000, connectBurst: 1_000_000 } });
  a = await platform.addTenant('a');
});
afterAll(() => platform.close());

/** mulberry32: the seed is in the test's name when it fails. */
function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const below = (count: number): number => Math.floor(random() * count);
const pick = <Value>(values: readonly Value[]): Value => {
  const value = values[below(values.length)];
  if (value === undefined) throw new Error('nothing to pick from');
  return value;
};
const bytes = (count: number): Buffer => Buffer.from(Array.from({ length: count }, () => below(256)));

interface Framing {
  readonly opcode: number;
  readonly isFinal?: boolean;
  readonly isMasked?: boolean;
  readonly reserved?: number;
}

function frame(payload: Uint8Array, { opcode, isFinal = true, isMasked = true, reserved = 0 }: Framing): Buffer {
  const first = (isFinal ? 0x80 : 0) | (reserved << 4) | opcode;
  const maskBit = isMasked ? 0x80 : 0;
  const { length } = payload;
  const head =
    length < 126
      ? Buffer.from([first, maskBit | length])
      : Buffer.from([first, maskBit | 126, length >> 8, length & 0xff]);
  if (!isMasked) return Buffer.concat([head, payload]);
  const mask = bytes(4);
  return Buffer.concat([head, mask, payload.map((byte, index) => byte ^ (mask[index % 4] ?? 0))]);
}

/** Acks of what was never sent are malformed, of revision 0 they are old: those, pings and pongs, in whatever framing. */
function allowed(): Buffer {
  const kind = below(4);
  if (kind === 0) return frame(bytes(below(20)), { opcode: 10 });
  if (kind === 1) return frame(bytes(below(20)), { opcode: 9 });
  const ack = encode({ type: 'ack', epoch: 0, revision: 0 });
  if (kind === 2) return frame(ack, { opcode: 2 });
  const cut = below(ack.length);
  return Buffer.concat([
    frame(ack.subarray(0, cut), { opcode: 2, isFinal: false }),
    frame(ack.subarray(cut), { opcode: 0 }),
  ]);
}

const VALUES: readonly unknown[] = [
  null,
  true,
  -1,
  1.5,
  2 ** 53,
  Number.NaN,
  '',
  'x'.repeat(300),
  [],
  {},
  { a: { b: [] } },
];

/** Bytes of a message that is malformed with near certainty. */
function malformed(): Buffer {
  const hello = () =>
    encode({ type: pick(['hello', 'ack', 'put', '']), [pick(['epoch', 'revision', 'context', 'x'])]: pick(VALUES) });
  switch (below(7)) {
    case 0:
      return frame(bytes(below(200)), { opcode: pick([1, 2]) });
    case 1: {
      const message = Buffer.from(hello());
      for (let count = 0; count <= below(4); count += 1) message[below(message.length)] = below(256);
      return frame(message, { opcode: 2 });
    }
    case 2:
      return frame(hello(), { opcode: pick([1, 2]) });
    case 3:
      return frame(bytes(below(130)), { opcode: below(16), reserved: below(8), isFinal: random() < 0.5 });
    case 4:
      return frame(Buffer.from([0xdd, 0xff, 0xff, 0xff, 0xff]), { opcode: 2 });
    case 5:
      return frame(Buffer.alloc(200, 0x91), { opcode: 2 });
    default:
      return frame(hello(), { opcode: 2, isMasked: false });
  }
}

/** Resolves when the node has closed the connection, or this side has given up on it. */
function attack(key: string, origin: string, message: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const socket = connect(platform.server.port, '127.0.0.1', () => {
      socket.write(
        `GET /v1/stream HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${key}\r\n${origin}Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: guidon.v1.msgpack\r\n\r\n`,
      );
    });
    let hasSent = false;
    socket.on('data', () => {
      if (!hasSent) socket.write(message);
      hasSent = true;
    });
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.once('end', () => socket.destroy());
    // A frame that promises more than it holds waits for the rest.
    socket.setTimeout(500, () => socket.resetAndDestroy());
  });
}

test(
  `${FRAME_COUNT} frames (seed ${seed}): the process lives and the stream beside hears every change`,
  async () => {
    const bystander = new StreamClient(platform.server.url, { key: a.srv });
    await bystander.untilAt(1);
    let sent = 0;
    const worker = async (): Promise<void> => {
      while (sent < FRAME_COUNT) {
        sent += FRAMES_PER_CONNECTION;
        const parts = Array.from({ length: FRAMES_PER_CONNECTION - 1 }, allowed);
        const isWeb = random() < 0.5;
        const hello = frame(encode({ type: 'hello', epoch: 0, revision: 0 }), { opcode: 2 });
        if (random() < 0.8) parts.unshift(hello);
        await attack(
          isWeb ? a.web : a.srv,
          isWeb ? `Origin: ${WEB_ORIGIN}\r\n` : '',
          Buffer.concat([...parts, malformed()]),
        );
      }
    };
    await Promise.all(Array.from({ length: CONCURRENCY }, worker));
    await bystander.untilAt(await platform.change(a, 'gate', { on: true }));
    expect(bystander.failure).toBeUndefined();
    expect(bystander.closed).toBeUndefined();
    expect(await platform.metric('guidon_streams_closed_total{why="4400"}')).toBeGreaterThan(FRAME_COUNT / 100);
    bystander.close();
  },
  FRAME_COUNT * 4,
);
