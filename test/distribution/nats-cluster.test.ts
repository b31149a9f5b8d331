import { NatsBus, type NatsBusOptions } from '@guidon/cli/run/nats-bus.js';
import { messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
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

interface ClusterNode {
  readonly name: string;
  readonly server: NatsServer;
  readonly monitorUrl: string;
}

async function startCluster(): Promise<ClusterNode[]> {
  const ports = await Promise.all(Array.from({ length: 6 }, freePort));
  const [routePorts, monitorPorts] = [ports.slice(0, 3), ports.slice(3)];
  const routes = routePorts.map((port) => `"nats://127.0.0.1:${port}"`).join(', ');
  return Promise.all(
    routePorts.map(async (port, index) => {
      const name = `n${index}`;
      const monitor = `127.0.0.1:${monitorPorts[index]}`;
      const cluster = `cluster { name: guidon, listen: "127.0.0.1:${port}", routes: [${routes}] }`;
      const server = await startServer({ config: `server_name: ${name}\nhttp: "${monitor}"\n${cluster}` });
      return { name, server, monitorUrl: `http://${monitor}` };
    }),
  );
}

interface StreamDetail {
  readonly name: string;
  readonly config: { readonly num_replicas: number };
  readonly cluster: {
    readonly leader?: string;
    readonly replicas?: readonly { readonly current: boolean; readonly offline?: boolean }[];
  };
}

interface ConsumerDetail {
  readonly name: string;
  readonly cluster: { readonly leader?: string };
}

/** The server that leads the stream, and what it says of it; undefined while there is none. */
async function findLeader(cluster: readonly ClusterNode[]): Promise<[ClusterNode, StreamDetail] | undefined> {
  for (const node of cluster) {
    const answer = await fetch(`${node.monitorUrl}/jsz?streams=1&config=1`).catch(() => undefined);
    const page: { account_details?: { stream_detail?: StreamDetail[] }[] } = (await answer?.json()) ?? {};
    const detail = page.account_details?.[0]?.stream_detail?.[0];
    if (detail !== undefined && detail.cluster.leader === node.name) return [node, detail];
  }
  return undefined;
}

/** Resolves with the leader once all three have every message. */
async function untilWhole(cluster: readonly ClusterNode[]): Promise<[ClusterNode, StreamDetail]> {
  let found: [ClusterNode, StreamDetail] | undefined;
  const isWhole = async (): Promise<boolean> => {
    found = await findLeader(cluster);
    const replicas = found?.[1].cluster.replicas ?? [];
    return replicas.length === 2 && replicas.every(({ current, offline }) => current && offline !== true);
  };
  await until('three servers have everything', isWhole, ELECTED_MS_MAX);
  if (found === undefined) throw new Error('a whole stream has a leader');
  return found;
}

test('changes go on when one of three servers is killed, and when the next one is once the first is back', async () => {
  const cluster = await startCluster();
  const urls = cluster.map(({ server }) => server.url);
  const publisher = openBus({ servers: urls, isPublisher: true, replicaCount: 3 });
  const heard = listenTo(openBus({ servers: urls }));
  await sendUntilTaken(publisher, 1);
  await until('it is heard', () => heard.includes('revision 1'), ELECTED_MS_MAX);
  const [leader, { name, config }] = await untilWhole(cluster);
  expect([name, config.num_replicas]).toEqual(['GUIDON_CONFIG', 3]);

  // The one that leads the stream goes: the worst of the three.
  await leader.server.kill();
  await sendUntilTaken(publisher, 2);
  await until('it is heard', () => heard.includes('revision 2'), ELECTED_MS_MAX);

  await leader.server.resume();
  const [next] = await untilWhole(cluster);
  await next.server.kill();
  await sendUntilTaken(publisher, 3);
  await until('it is heard', () => heard.includes('revision 3'), ELECTED_MS_MAX);
  // Who comes now gets the newest, whichever server it asks.
  const late = listenTo(openBus({ servers: urls }));
  await until('the newest alone', () => late.length > 0, ELECTED_MS_MAX);
  expect(late).toEqual(['revision 3']);
}, 180_000);

test('a subscriber whose consumer lay on a server that died hears on, though its own connection goes on', async () => {
  const cluster = await startCluster();
  const [own] = cluster;
  if (own === undefined) throw new Error('there are three');
  const publisher = openBus({ servers: [own.server.url], isPublisher: true, replicaCount: 3 });
  await sendUntilTaken(publisher, 1);
  await untilWhole(cluster);
  // Whichever server the consumers land on, sooner or later one is another than that of the connection.
  let elsewhere: ClusterNode | undefined;
  let heard: string[] = [];
  await until(
    'a consumer on another server',
    async () => {
      const bus = openBus({ servers: [own.server.url] });
      heard = listenTo(bus);
      await until('it is heard', () => heard.includes('revision 1'), ELECTED_MS_MAX);
      const others = cluster.filter((node) => node !== own);
      const counts = await Promise.all(others.map(countConsumers));
      elsewhere = others[counts.findIndex((count) => count > 0)];
      if (elsewhere === undefined) await bus.close();
      return elsewhere !== undefined;
    },
    ELECTED_MS_MAX,
  );
  await elsewhere?.server.kill();
  await sendUntilTaken(publisher, 2);
  await until('it is heard', () => heard.includes('revision 2'), ELECTED_MS_MAX);
}, 180_000);

/** Consumers of changes of config that this server leads. */
async function countConsumers({ name, monitorUrl }: ClusterNode): Promise<number> {
  const answer = await fetch(`${monitorUrl}/jsz?consumers=1`);
  const page: { account_details?: { stream_detail?: { consumer_detail?: ConsumerDetail[] }[] }[] } =
    await answer.json();
  const consumers = page.account_details?.[0]?.stream_detail?.[0]?.consumer_detail ?? [];
  return consumers.filter((each) => each.cluster.leader === name && each.name.startsWith('guidon-config')).length;
}

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

test('a node hears over a leaf node of its region, and again when that or the hub has been away', async () => {
  const leafPort = await freePort();
  const mayListen = `permissions {
    publish: [
      "$JS.hub.API.CONSUMER.CREATE.GUIDON_CONFIG.>"
      "$JS.hub.API.CONSUMER.INFO.GUIDON_CONFIG.>"
      "$JS.hub.API.CONSUMER.MSG.NEXT.GUIDON_CONFIG.>"
    ]
    subscribe: ["_INBOX.>"]
  }`;
  const control = '{ user: control, password: s3cret }';
  const hub = await startServer({
    domain: 'hub',
    config: `leafnodes { listen: "127.0.0.1:${leafPort}" }
      accounts { GUIDON { jetstream: enabled, users: [${control}, { user: region, password: r3gion }] } }`,
  });
  const remote = `{ url: "nats-leaf://region:r3gion@127.0.0.1:${leafPort}", account: GUIDON }`;
  const leaf = await startServer({
    domain: 'region',
    config: `leafnodes { remotes: [${remote}] }
      accounts { GUIDON { jetstream: enabled, users: [{ user: node, password: n0de, ${mayListen} }] } }`,
  });
  const publisher = openBus({ servers: [`nats://control:s3cret@127.0.0.1:${hub.port}`], isPublisher: true });
  await sendUntilTaken(publisher, 1);
  const node = openBus({ servers: [`nats://node:n0de@127.0.0.1:${leaf.port}`], domain: 'hub' });
  const heard = listenTo(node);
  await until('it hears', () => heard.includes('revision 1'), ELECTED_MS_MAX);
  await leaf.kill();
  await sendUntilTaken(publisher, 2);
  await leaf.resume();
  await until('the leaf is back', () => heard.includes('revision 2'), ELECTED_MS_MAX);
  await hub.kill();
  await hub.resume();
  await sendUntilTaken(publisher, 3);
  await until('the hub is back', () => heard.includes('revision 3'), ELECTED_MS_MAX);
}, 120_000);
