import { NatsBus, type NatsBusOptions } from '@guidon/cli/run/nats-bus.js';
import { messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
import { connect, type StreamInfo } from 'nats';
import { pino } from 'pino';
import { afterEach, expect, test } from 'vitest';
import { TestAuthority } from '../support/certificates.js';
import { temporaryFolder } from '../support/guidon-process.js';
import { freePort, NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';

/** The forms of NATS that docs/deploy.md shows: three servers that keep three copies, and TLS with users and with certificates. */
const logger = pino({ level: 'silent' });
const environment = parseEnvironmentRef({ tenantId: 'ten', projectId: 'prj', environmentId: 'env' });
/** A cluster elects leaders, of itself and of the stream, on a machine that may be busy. */
const ELECTED_MS_MAX = 40_000;
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

function openBus(options: Omit<NatsBusOptions, 'logger'>): NatsBus {
  const bus = new NatsBus({ ...options, logger });
  cleanups.push(() => bus.close());
  return bus;
}

async function startServer(options: Parameters<typeof NatsServer.start>[0]): Promise<NatsServer> {
  const server = await NatsServer.start(options);
  cleanups.push(() => server.dispose());
  return server;
}

function listenTo(bus: NatsBus): string[] {
  const heard: string[] = [];
  bus.subscribe({ message: (_, message) => void heard.push(Buffer.from(message).toString()), resumed: () => {} });
  return heard;
}

/** As the outbox does: the same message again until it is taken. */
function sendUntilTaken(bus: NatsBus, to: number): Promise<void> {
  const id = messageIdOf('config', { ...environment, epoch: 1, to });
  const send = () => bus.publish(subjectOf('config', environment), Buffer.from(`revision ${to}`), id);
  const isTaken = () =>
    send().then(
      () => true,
      () => false,
    );
  return until(`message ${to} is taken`, isTaken, ELECTED_MS_MAX);
}

async function startCluster(): Promise<NatsServer[]> {
  const ports = [await freePort(), await freePort(), await freePort()];
  const routes = ports.map((port) => `"nats://127.0.0.1:${port}"`).join(', ');
  const block = (port: number) => `cluster { name: guidon, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
  return Promise.all(ports.map((port, index) => startServer({ config: `server_name: n${index}\n${block(port)}` })));
}

async function streamInfo({ url }: NatsServer): Promise<StreamInfo> {
  const connection = await connect({ servers: url });
  try {
    return await (await connection.jetstreamManager()).streams.info('GUIDON_CONFIG');
  } finally {
    await connection.close();
  }
}

/** True when all three have every message. */
async function isWhole(server: NatsServer): Promise<boolean> {
  try {
    const { cluster } = await streamInfo(server);
    const replicas = cluster?.replicas ?? [];
    return replicas.length === 2 && replicas.every(({ current, offline }) => current && offline !== true);
  } catch {
    // A new leader is being elected.
    return false;
  }
}

test('changes go on when one of three servers is killed, and when the next one is once the first is back', async () => {
  const servers = await startCluster();
  const urls = servers.map(({ url }) => url);
  const publisher = openBus({ servers: urls, isPublisher: true, replicaCount: 3 });
  const heard = listenTo(openBus({ servers: urls }));
  await sendUntilTaken(publisher, 1);
  await until('it is heard', () => heard.includes('revision 1'), ELECTED_MS_MAX);
  const [first, second] = servers;
  if (first === undefined || second === undefined) throw new Error('there are three');
  const { config } = await streamInfo(first);
  expect([config.name, config.num_replicas]).toEqual(['GUIDON_CONFIG', 3]);
  await until('three have it', () => isWhole(first), ELECTED_MS_MAX);

  // The one that leads the stream goes: the worst of the three.
  const { cluster } = await streamInfo(first);
  const leader = servers[Number(cluster?.leader?.slice(1))] ?? first;
  await leader.kill();
  await sendUntilTaken(publisher, 2);
  await until('it is heard', () => heard.includes('revision 2'), ELECTED_MS_MAX);

  await leader.resume();
  await until('it has caught up', () => isWhole(leader), ELECTED_MS_MAX);
  const other = leader === first ? second : first;
  await other.kill();
  await sendUntilTaken(publisher, 3);
  await until('it is heard', () => heard.includes('revision 3'), ELECTED_MS_MAX);
  // Who comes now gets the newest, from servers of which each has been away or has not.
  const late = listenTo(openBus({ servers: urls }));
  await until('the newest alone', () => late.length > 0, ELECTED_MS_MAX);
  expect(late).toEqual(['revision 3']);
}, 180_000);

test('over TLS with a user, and with a certificate of its own; never in the clear, to a stranger, or with a wrong password', async () => {
  const folder = temporaryFolder('nats-tls');
  cleanups.push(() => folder.remove());
  const authority = new TestAuthority(folder.path);
  const served = authority.issue('server', 'nats');
  const tls = (more: string) =>
    `tls { cert_file: "${served.certFile}", key_file: "${served.keyFile}", ca_file: "${authority.caFile}", ${more} timeout: 5 }`;
  const server = await startServer({
    config: `${tls('')}\naccounts { GUIDON { jetstream: enabled, users: [{ user: control, password: s3cret }] } }`,
  });
  const at = (password: string, scheme = 'tls') => `${scheme}://control:${password}@127.0.0.1:${server.port}`;
  const { caFile } = authority;
  const bus = openBus({ servers: [at('s3cret')], caFile, isPublisher: true });
  const heard = listenTo(bus);
  await sendUntilTaken(bus, 1);
  await until('it is heard', () => heard.includes('revision 1'));

  const refused = [
    openBus({ servers: [at('wrong')], caFile }),
    // A certificate that no authority of this machine has signed.
    openBus({ servers: [at('s3cret')] }),
  ];
  for (const [index, reason] of [/authorization/i, /certificate|issuer|secure/i].entries()) {
    const one = refused[index];
    if (one === undefined) throw new Error('there are two');
    listenTo(one);
    await until(`refusal ${index}`, () => reason.test(one.status().detail));
    expect([one.status().isConnected, JSON.stringify(one.status()).includes('s3cret')]).toEqual([false, false]);
  }

  const mutual = await startServer({ config: tls('verify: true,') });
  const own = authority.issue('node', 'node');
  const url = `tls://127.0.0.1:${mutual.port}`;
  const known = openBus({ servers: [url], caFile, ...own, isPublisher: true });
  await sendUntilTaken(known, 1);
  const unknown = openBus({ servers: [url], caFile });
  listenTo(unknown);
  await until('it is refused', () => unknown.status().detail !== 'not connected yet');
  expect(unknown.status().isConnected).toBe(false);
}, 60_000);
