import { encode } from '@msgpack/msgpack';
import { findOption } from '../support/arguments.js';
import { monotonicMs } from '../support/monotonic.js';
import { frameOf, type StreamHead, StreamSocket } from '../support/stream-socket.js';

/** Asked of the process: each is answered with one message. */
export type ClientsRequest =
  /** Opens so many more and answers when each has said hello and is at `revision`. A client key's context is its number. */
  | { readonly type: 'open'; readonly count: number; readonly epoch: number; readonly revision: number }
  /** Answers when every client is at `revision`. */
  | { readonly type: 'arrivals'; readonly revision: number }
  /** Ends all of them at once; they come back by themselves. */
  | { readonly type: 'reset' };

export interface ClientsAnswer {
  /** Of CLOCK_MONOTONIC, milliseconds: when each client was at the revision first. */
  readonly arrivals: readonly number[];
  /** Of the largest frame. */
  readonly frameBytes: number;
  readonly refusedCount: number;
}

const OPENING_COUNT_MAX = 100;
const RETRY_MS = { min: 200, max: 2_000 } as const;
const TIMEOUT_MS = 240_000;

class Client {
  epoch: number;
  revision: number;
  arrivedAtMs = 0;
  isOpen = false;
  readonly index: number;

  constructor(index: number, epoch: number, revision: number) {
    this.index = index;
    this.epoch = epoch;
    this.revision = revision;
  }
}

const url = new URL(findOption('url') ?? '');
const key = findOption('key') ?? '';
const isWeb = key.startsWith('gdn_web_');
const clients: Client[] = [];
const sockets = new Map<Client, StreamSocket>();
const waiting: Client[] = [];
let openingCount = 0;
let frameBytes = 0;
let refusedCount = 0;
/** While none is to come back. */
let isEnding = false;

function connectNext(): void {
  while (openingCount < OPENING_COUNT_MAX) {
    const client = waiting.shift();
    if (client === undefined) return;
    openingCount += 1;
    connectOne(client);
  }
}

function connectOne(client: Client): void {
  let isOpening = true;
  const opened = (): void => {
    if (!isOpening) return;
    isOpening = false;
    openingCount -= 1;
    setImmediate(connectNext);
  };
  const { epoch, revision, index } = client;
  const position = revision === 0 ? {} : { epoch, revision };
  const context = isWeb ? { context: { targetingKey: `user-${process.pid}-${index}` } } : {};
  // A client key is evaluated anew whatever it has; a server key that has everything hears nothing until something changes.
  const socket = new StreamSocket({
    host: url.hostname,
    port: Number(url.port),
    key,
    hello: encode({ type: 'hello', ...position, ...context }),
    onMessage: (from, head, bytes) => {
      opened();
      hear(client, from, head, bytes);
    },
    onClose: (status) => {
      opened();
      if (status !== 0) refusedCount += 1;
      client.isOpen = false;
      sockets.delete(client);
      if (isEnding) return;
      setTimeout(
        () => {
          waiting.push(client);
          connectNext();
        },
        RETRY_MS.min + Math.random() * RETRY_MS.max,
      );
    },
  });
  sockets.set(client, socket);
  client.isOpen = true;
  // Nothing is said to who has everything: the next one does not wait for it.
  setTimeout(opened, 20);
}

function hear(client: Client, socket: StreamSocket, { type, epoch, revision }: StreamHead, bytes: number): void {
  if (type !== 'put' && type !== 'patch') return;
  frameBytes = Math.max(frameBytes, bytes);
  if (revision > client.revision) client.arrivedAtMs = monotonicMs();
  client.epoch = epoch;
  client.revision = revision;
  socket.write(ackOf(epoch, revision));
}

let lastAck: { readonly epoch: number; readonly revision: number; readonly frame: Buffer } | undefined;

function ackOf(epoch: number, revision: number): Buffer {
  if (lastAck?.epoch !== epoch || lastAck.revision !== revision) {
    lastAck = { epoch, revision, frame: frameOf(encode({ type: 'ack', epoch, revision })) };
  }
  return lastAck.frame;
}

async function until(isTrue: () => boolean): Promise<void> {
  const deadlineMs = monotonicMs() + TIMEOUT_MS;
  while (!isTrue()) {
    if (monotonicMs() > deadlineMs) throw new Error('the clients did not get there in time');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function answer(request: ClientsRequest): Promise<ClientsAnswer> {
  if (request.type === 'open') {
    for (let count = 0; count < request.count; count += 1) {
      const client = new Client(clients.length, request.epoch, isWeb ? 0 : request.revision);
      clients.push(client);
      waiting.push(client);
    }
    connectNext();
    await until(() => waiting.length === 0 && openingCount === 0 && clients.every(isThere(request.revision)));
  } else if (request.type === 'arrivals') {
    frameBytes = 0;
    await until(() => clients.every(isThere(request.revision)));
  } else for (const socket of sockets.values()) socket.reset();
  return { arrivals: clients.map(({ arrivedAtMs }) => arrivedAtMs), frameBytes, refusedCount };
}

const isThere =
  (revision: number) =>
  (client: Client): boolean =>
    client.isOpen && client.revision >= revision;

process.on('message', (request: ClientsRequest) => {
  answer(request).then(
    (value) => process.send?.(value),
    (error: unknown) => {
      console.error(error);
      process.exit(1);
    },
  );
});
process.on('SIGTERM', () => {
  isEnding = true;
  process.exit(0);
});
process.on('disconnect', () => process.exit(0));
process.send?.({});
