import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ChaosProxy } from '../../support/chaos-proxy.js';
import { until } from '../../support/running-node.js';

/** An echo server behind the proxy: what the faults of the chaos run look like from both sides. */
let server: Server;
let proxy: ChaosProxy;
const sockets: Socket[] = [];
/** Server side of each connection. */
const accepted: Socket[] = [];

beforeEach(async () => {
  server = createServer((socket) => {
    accepted.push(socket);
    socket.on('error', () => undefined);
    socket.on('data', (chunk) => socket.write(chunk));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  proxy = await ChaosProxy.start(typeof address === 'object' && address !== null ? address.port : 0);
});

afterEach(async () => {
  for (const socket of [...sockets.splice(0), ...accepted.splice(0)]) socket.destroy();
  await proxy.close();
  server.close();
});

interface Talker {
  readonly socket: Socket;
  heard: string;
  error: string | undefined;
  isClosed: boolean;
}

function talk(): Talker {
  const talker: Talker = { socket: connect(proxy.port, '127.0.0.1'), heard: '', error: undefined, isClosed: false };
  sockets.push(talker.socket);
  talker.socket.on('data', (chunk: Buffer) => {
    talker.heard += chunk.toString();
  });
  talker.socket.on('error', (error: NodeJS.ErrnoException) => {
    talker.error = error.code;
  });
  talker.socket.on('close', () => {
    talker.isClosed = true;
  });
  return talker;
}

async function hears(talker: Talker, text: string): Promise<void> {
  talker.socket.write(text);
  await until('it comes back', () => talker.heard.endsWith(text));
}

describe('ChaosProxy', () => {
  it('carries both ways, and an end of one side to the other', async () => {
    const one = talk();
    await hears(one, 'hello');
    await hears(one, 'x'.repeat(500_000));
    one.socket.end();
    await until('closed', () => one.isClosed);
    await until('nothing is left', () => proxy.connectionCount === 0);
  });

  it('resets what there is, and carries what is new', async () => {
    const one = talk();
    await hears(one, 'hello');
    proxy.reset();
    await until('reset', () => one.isClosed);
    expect(one.error).toBe('ECONNRESET');
    await until('the server is told', () => accepted[0]?.destroyed === true);
    await hears(talk(), 'again');
  });

  it('refuses until it is healed', async () => {
    proxy.refuse();
    const refused = talk();
    await until('refused', () => refused.isClosed);
    expect(refused.heard).toBe('');
    proxy.heal();
    await hears(talk(), 'again');
  });

  it('half-open: old and new connections live and nothing arrives, also not after it is healed', async () => {
    const old = talk();
    await hears(old, 'hello');
    proxy.swallow();
    const young = talk();
    await once(young.socket, 'connect');
    for (const talker of [old, young]) talker.socket.write('lost');
    proxy.heal();
    await hears(talk(), 'new');
    expect([old.heard, young.heard]).toEqual(['hello', '']);
    expect([old.isClosed, young.isClosed]).toEqual([false, false]);
    // Neither side hears that the other has gone.
    old.socket.destroy();
    await hears(talk(), 'newer');
    expect(accepted[0]?.destroyed).toBe(false);
  });

  it('a router that is back resets what it does not know', async () => {
    const one = talk();
    await hears(one, 'hello');
    proxy.swallow();
    proxy.heal({ resetsSilent: true });
    await until('reset', () => one.isClosed);
    expect(one.error).toBe('ECONNRESET');
  });
});
