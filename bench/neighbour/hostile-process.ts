import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { RawConnection } from '../support/raw-connection.js';

/**
 * The neighbour that `bench:neighbour` measures the other against, in a process of its own (start-hostile.ts). Usage: node hostile-process.js
 * <file with a HostileLoad as JSON>. It is at it from the ready message until its end; any message is answered with how often it got each status since the last one.
 */
export interface HostileLoad {
  readonly port: number;
  /** Whole requests in base64, sent in turn. */
  readonly requests: readonly string[];
  /** Absent: each connection sends the next request when it has the answer. */
  readonly ratePerSecond?: number;
  readonly connections: number;
  /** Sockets that send the first request byte by byte, one in two seconds, and do not read. */
  readonly slowSockets: number;
}

/** By status; 0 for requests whose connection was closed instead. */
export type HostileReport = Readonly<Record<string, number>>;

const DRIP_INTERVAL_MS = 2_000;
const PACE_MS = 2;

const load: HostileLoad = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
const requests = load.requests.map((text) => Buffer.from(text, 'base64'));
let counts: Record<string, number> = {};
let sentCount = 0;

const count = (status: number): void => {
  counts[status] = (counts[status] ?? 0) + 1;
};

const nextRequest = (): Buffer => {
  const request = requests[sentCount % requests.length];
  if (request === undefined) throw new Error('there is nothing to send');
  sentCount += 1;
  return request;
};

/** A connection that is opened again whenever the node ends it, which is what a client that means harm does. */
async function openAgain(use: (connection: RawConnection) => Promise<void>): Promise<never> {
  for (;;) {
    try {
      await use(await RawConnection.open(load.port));
    } catch {
      count(0); // refused, or ended before the answer
      await new Promise((wake) => setTimeout(wake, 10));
    }
  }
}

async function askInTurn(connection: RawConnection): Promise<void> {
  for (;;) count(await connection.ask(nextRequest()));
}

async function askAtRate(connection: RawConnection): Promise<void> {
  const perSecond = (load.ratePerSecond ?? 0) / load.connections;
  const startMs = performance.now();
  for (let sent = 0; connection.isOpen; ) {
    for (const due = ((performance.now() - startMs) / 1_000) * perSecond; sent < due; sent += 1) {
      connection.send(nextRequest(), count);
    }
    await new Promise((wake) => setTimeout(wake, PACE_MS));
  }
}

function drip(): void {
  const request = nextRequest();
  let offset = 0;
  let timer: NodeJS.Timeout | undefined;
  const socket: Socket = connect({ port: load.port, host: '127.0.0.1', noDelay: true });
  socket.pause();
  socket.once('connect', () => {
    timer = setInterval(() => {
      socket.write(request.subarray(offset, offset + 1));
      offset += 1;
    }, DRIP_INTERVAL_MS);
  });
  socket.on('error', () => undefined); // 'close' follows
  socket.once('close', () => {
    clearInterval(timer);
    count(0);
    setTimeout(drip, DRIP_INTERVAL_MS);
  });
}

for (let index = 0; index < load.connections; index += 1) {
  void openAgain(load.ratePerSecond === undefined ? askInTurn : askAtRate);
}
for (let index = 0; index < load.slowSockets; index += 1) drip();
process.on('message', () => {
  const report: HostileReport = counts;
  counts = {};
  process.send?.(report);
});
process.once('disconnect', () => process.exit(0));
process.send?.({});
