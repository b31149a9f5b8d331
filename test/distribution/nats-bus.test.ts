import { once } from 'node:events';
import { createServer } from 'node:net';
import { NatsBus, type NatsBusOptions } from '@guidon/cli/run/nats-bus.js';
import { messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
import { pino } from 'pino';
import { afterEach, describe, expect, it } from 'vitest';
import { freePort, NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';

/** What NATS adds to what every bus does: servers that cannot carry it, go away, or forget (M8-M11). */
const logger = pino({ level: 'silent' });
const environment = parseEnvironmentRef({ tenantId: 'ten', projectId: 'prj', environmentId: 'env' });
const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startServer(options: Parameters<typeof NatsServer.start>[0] = {}): Promise<NatsServer> {
  const server = await NatsServer.start(options);
  cleanups.push(() => server.dispose());
  return server;
}

function openBus(options: Omit<NatsBusOptions, 'logger'>): NatsBus {
  const bus = new NatsBus({ ...options, logger });
  cleanups.push(() => bus.close());
  return bus;
}

/** A subscriber, what it has heard, and how often it was told that it hears again. */
function listenTo(bus: NatsBus) {
  const heard: string[] = [];
  const counts = { resumed: 0 };
  bus.subscribe({
    message: (_, message) => void heard.push(Buffer.from(message).toString()),
    resumed: () => {
      counts.resumed += 1;
    },
  });
  return { heard, counts };
}

const send = (bus: NatsBus, to: number, of = environment) =>
  bus.publish(
    subjectOf('config', of),
    Buffer.from(`${of.environmentId} ${to}`),
    messageIdOf('config', { ...of, epoch: 1, to }),
  );

/** As an outbox does: again until it is taken. */
async function sendUntilTaken(bus: NatsBus, to: number): Promise<void> {
  await until(`message ${to} is taken`, () =>
    send(bus, to).then(
      () => true,
      () => false,
    ),
  );
}

describe('NatsBus.check() refuses a server that answers and cannot carry the bus', () => {
  it('without JetStream', async () => {
    const server = await startServer({ hasJetStream: false });
    await expect(NatsBus.check({ servers: [server.url] }, logger)).rejects.toThrow(
      `the NATS server at 127.0.0.1:${server.port} runs without JetStream: start it with -js, or add jetstream {} to its file`,
    );
  });

  it('that takes small messages alone', async () => {
    const server = await startServer({ config: 'max_payload: 100KB' });
    await expect(NatsBus.check({ servers: [server.url] }, logger)).rejects.toThrow(/set max_payload to 1MB/);
  });

  it.each([
    ['2.8.4', /is version 2\.8\.4: Guidon needs 2\.9 or later/],
    ['1.4.1', /is version 1\.4\.1/],
  ])('of version %s', async (version, sentence) => {
    const info = JSON.stringify({ version, jetstream: true, max_payload: 1_048_576, proto: 1, headers: true });
    const old = createServer((socket) => {
      socket.on('error', () => {});
      socket.write(`INFO ${info}\r\n`);
      socket.on('data', (chunk) => {
        if (chunk.includes('PING')) socket.write('PONG\r\n');
      });
    }).listen(0, '127.0.0.1');
    await once(old, 'listening');
    cleanups.push(async () => void old.close());
    const address = old.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    await expect(NatsBus.check({ servers: [`nats://127.0.0.1:${port}`] }, logger)).rejects.toThrow(sentence);
  });

  it('and lets one pass that cannot be reached: nothing waits for it (I14)', async () => {
    await NatsBus.check({ servers: [`nats://127.0.0.1:${await freePort()}`] }, logger);
  });
});

describe('NatsBus', () => {
  it('gives a subscriber that comes late the newest message of each environment', async () => {
    const server = await startServer();
    const publisher = openBus({ servers: [server.url], isPublisher: true });
    const other = parseEnvironmentRef({ ...environment, environmentId: 'other' });
    await sendUntilTaken(publisher, 1);
    for (let to = 2; to <= 30; to += 1) await send(publisher, to);
    await send(publisher, 1, other);
    const { heard } = listenTo(openBus({ servers: [server.url] }));
    await until('both', () => heard.length === 2);
    expect(heard.sort()).toEqual(['env 30', 'other 1']);
  });

  it('keeps a message that is published twice once', async () => {
    const server = await startServer();
    const bus = openBus({ servers: [server.url], isPublisher: true });
    const { heard, counts } = listenTo(bus);
    await until('it listens', () => counts.resumed > 0);
    for (const to of [1, 1, 2, 2, 1, 3]) await send(bus, to);
    await until('the last', () => heard.includes('env 3'));
    expect(heard).toEqual(['env 1', 'env 2', 'env 3']);
  });

  it('a subscriber waits for the stream, which a publisher makes', async () => {
    const server = await startServer();
    const listener = openBus({ servers: [server.url] });
    const { heard } = listenTo(listener);
    await until('it says what it waits for', () =>
      listener.status().detail.includes('has no stream GUIDON_CONFIG yet'),
    );
    expect(listener.status().isConnected).toBe(false);
    await sendUntilTaken(openBus({ servers: [server.url], isPublisher: true }), 1);
    await until('it hears', () => heard.length === 1);
    expect(listener.status()).toMatchObject({ kind: 'nats', isConnected: true });
  });

  it('comes back after kill -9 of the server, to all that it kept', async () => {
    const server = await startServer();
    const publisher = openBus({ servers: [server.url], isPublisher: true });
    const { heard, counts } = listenTo(openBus({ servers: [server.url] }));
    await sendUntilTaken(publisher, 1);
    await until('it hears', () => heard.includes('env 1'));
    await server.kill();
    await until('it is known to be gone', () => !publisher.status().isConnected);
    await expect(send(publisher, 2)).rejects.toThrow(/NATS/);
    const resumedCount = counts.resumed;
    await server.resume();
    await sendUntilTaken(publisher, 2);
    await until('it hears again', () => heard.includes('env 2'));
    expect(counts.resumed).toBeGreaterThan(resumedCount);
  });

  it('goes to another server of the list', async () => {
    const server = await startServer();
    const gone = `nats://127.0.0.1:${await freePort()}`;
    const bus = openBus({ servers: [gone, server.url], isPublisher: true });
    await sendUntilTaken(bus, 1);
    expect(bus.status()).toMatchObject({ isConnected: true, detail: `127.0.0.1:${server.port}` });
  });

  it('notices a server that hangs, and goes on when it answers again (M10)', async () => {
    const server = await startServer();
    const bus = openBus({ servers: [server.url], isPublisher: true });
    const { heard } = listenTo(bus);
    await sendUntilTaken(bus, 1);
    await until('it hears', () => heard.includes('env 1'));
    await server.pause();
    await expect(send(bus, 2)).rejects.toThrow(/NATS has not taken a message/);
    await until('status() says so', () => !bus.status().isConnected);
    server.signal('SIGCONT');
    // The first one may have been taken after all: under the same id it is known.
    await sendUntilTaken(bus, 2);
    await until('it is heard', () => heard.includes('env 2'));
    expect(heard.filter((text) => text === 'env 2').length).toBeLessThanOrEqual(2);
  });

  it('tells its publisher before it takes messages again when a server has lost its whole store', async () => {
    const server = await startServer();
    const bus = openBus({ servers: [server.url], isPublisher: true });
    const lost: string[] = [];
    bus.onLost(async () => {
      lost.push('lost');
      await expect(send(bus, 9)).rejects.toThrow();
    });
    await sendUntilTaken(bus, 1);
    expect(lost).toHaveLength(1);
    const { heard } = listenTo(openBus({ servers: [server.url] }));
    await until('it hears', () => heard.includes('env 1'));
    await server.kill();
    server.deleteStore();
    await server.resume();
    await sendUntilTaken(bus, 2);
    expect(lost).toHaveLength(2);
    await until('a subscriber finds the new stream', () => heard.includes('env 2'));
  });

  it('publishes everything again when the stream ends earlier than it did (M9)', async () => {
    const server = await startServer();
    const bus = openBus({ servers: [server.url], isPublisher: true });
    let lostCount = 0;
    bus.onLost(async () => {
      lostCount += 1;
    });
    await sendUntilTaken(bus, 1);
    await server.kill();
    const before = server.copyStore();
    await server.resume();
    for (const to of [2, 3]) await sendUntilTaken(bus, to);
    expect(lostCount).toBe(1);
    await server.kill();
    server.replaceStore(before);
    await server.resume();
    await until('it is noticed', () => lostCount === 2);
  });

  it('gives the stream explicit limits, and its own limits back (M11)', async () => {
    const monitor = await freePort();
    const server = await startServer({ config: `http: "127.0.0.1:${monitor}"` });
    await sendUntilTaken(openBus({ servers: [server.url], isPublisher: true }), 1);
    const page = JSON.parse(await (await fetch(`http://127.0.0.1:${monitor}/jsz?streams=1&config=1`)).text());
    expect(page.account_details[0].stream_detail[0].config).toMatchObject({
      name: 'GUIDON_CONFIG',
      subjects: ['guidon.v1.config.>', 'guidon.v1.access.>'],
      max_bytes: 1_073_741_824,
      max_msgs_per_subject: 16,
      max_msg_size: 655_360,
      discard: 'old',
      storage: 'file',
    });
  });

  it('a node’s permissions let it listen, and publish nothing', async () => {
    const server = await startServer({ config: NODE_PERMISSIONS });
    const at = (user: string) => `nats://${user}@127.0.0.1:${server.port}`;
    const publisher = openBus({ servers: [at('control:secret-c')], isPublisher: true });
    await sendUntilTaken(publisher, 1);
    const node = openBus({ servers: [at('node:secret-n')] });
    const { heard } = listenTo(node);
    await until('it hears', () => heard.length === 1);
    await expect(send(node, 2)).rejects.toThrow();
    await send(publisher, 3);
    await until('the next', () => heard.includes('env 3'));
    expect(heard).toEqual(['env 1', 'env 3']);
    const stranger = openBus({ servers: [at('node:wrong')] });
    listenTo(stranger);
    await until('it says why', () => /authorization/i.test(stranger.status().detail));
    expect(JSON.stringify([stranger.status(), node.status()])).not.toContain('secret');
  });
});

/** The file that docs/deploy.md shows. */
const NODE_PERMISSIONS = `
accounts {
  GUIDON {
    jetstream: enabled
    users: [
      { user: control, password: secret-c
        permissions {
          publish: ["guidon.v1.config.>", "guidon.v1.access.>", "$JS.API.>"]
          subscribe: ["_INBOX.>"]
        } }
      { user: node, password: secret-n
        permissions {
          publish: [
            "$JS.API.CONSUMER.CREATE.GUIDON_CONFIG.>"
            "$JS.API.CONSUMER.INFO.GUIDON_CONFIG.>"
            "$JS.API.CONSUMER.MSG.NEXT.GUIDON_CONFIG.>"
          ]
          subscribe: ["_INBOX.>"]
        } }
    ]
  }
}
`;
