import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsEvents } from '@guidon/cli/run/nats-events.js';
import { parseEnvironmentRef } from '@guidon/protocol';
import { encodeEventMessage } from '@guidon/protocol/events';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuidonProcess } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';
import { Installation, type RunningGuidonNode } from '../support/installation.js';
import { NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';

/** Events through outages, as processes: whatever is killed, each one is counted, once. GUIDON_DEEP=1: 100 000 and an outage of 30 s. */
const isDeep = process.env.GUIDON_DEEP === '1';
const EVENT_COUNT = isDeep ? 100_000 : 10_000;
const OUTAGE_MS = isDeep ? 30_000 : 3_000;
const BATCH_EVENTS = 500;
const SPOOL_BYTES_MAX = 64 * 1024 * 1024;
const TIMEOUT_MS = isDeep ? 300_000 : 120_000;

/** Sends events and sends every batch again, as a client does that has not heard an answer. */
class Sender {
  readonly #installation: Installation;
  sent = 0;
  #number = 0;

  constructor(installation: Installation) {
    this.#installation = installation;
  }

  async send(node: RunningGuidonNode, count: number, variation: string): Promise<void> {
    for (let rest = count; rest > 0; rest -= BATCH_EVENTS) {
      const events = Array.from({ length: Math.min(rest, BATCH_EVENTS) }, () => this.#exposure(variation));
      await this.#post(node, events);
      await this.#post(node, events);
      this.sent += events.length;
    }
  }

  #exposure(variation: string): unknown {
    this.#number += 1;
    const id = `event-${variation}-${String(this.#number).padStart(12, '0')}`;
    const context = { targetingKey: `user-${this.#number}` };
    return { id, kind: 'exposure', at: Date.now(), flag: 'gate', variation, context };
  }

  async #post(node: RunningGuidonNode, events: readonly unknown[]): Promise<void> {
    const key = this.#installation.serverKey;
    // A connection each: a node of several processes gets them all.
    const headers = { connection: 'close' };
    const { status } = await sendJson(`${node.url}/v1/events`, { key, headers, body: { events } });
    expect(status).toBe(202);
  }
}

async function exposuresOf(installation: Installation): Promise<Record<string, number>> {
  const { body } = await installation.must('GET', `${installation.environmentUrl}/flags/gate/usage`);
  return Object(Reflect.get(Object(body.total), 'exposures'));
}

const spoolFolder = (installation: Installation, name: string): string =>
  join(installation.folder.path, name, 'events');
const isSpoolEmpty = (installation: Installation, name: string): boolean =>
  readdirSync(spoolFolder(installation, name)).length === 0;

/** Files come and go meanwhile. */
function spoolBytes(installation: Installation, name: string): number {
  const folder = spoolFolder(installation, name);
  const sizeOf = (file: string): number => statSync(join(folder, file), { throwIfNoEntry: false })?.size ?? 0;
  return readdirSync(folder).reduce((sum, file) => sum + sizeOf(file), 0);
}

async function metric(node: RunningGuidonNode, line: string): Promise<number> {
  const page = await (await fetch(`${node.metricsUrl}/metrics`)).text();
  return Number(new RegExp(`^${line} (\\S+)$`, 'm').exec(page)?.[1]);
}

async function startEdge(
  { folder, controlPlane }: Installation,
  upstream: RunningGuidonNode,
  credentialFile: string,
): Promise<RunningGuidonNode> {
  const [, trustRoot = ''] = await controlPlane.waitFor(/trust root: (\S+)/);
  const source = ['--upstream', upstream.url, '--node-credential-file', credentialFile, '--trust-root', trustRoot];
  const places = ['--data', join(folder.path, 'edge'), '--port', '0', '--metrics-port', '0'];
  const process = new GuidonProcess(['edge', ...source, ...places]);
  const [, url = '', metricsUrl = ''] = await process.waitFor(/data plane: (http\S+)\s+health: (http\S+)\/readyz/);
  return { process, url, metricsUrl };
}

describe('over HTTP', () => {
  let installation: Installation;
  const edges: GuidonProcess[] = [];
  beforeAll(async () => {
    installation = await Installation.start();
  });
  afterAll(async () => {
    for (const edge of edges) await edge.stop('SIGKILL');
    await installation.dispose();
  });

  it(
    `${EVENT_COUNT} events and an outage of ${OUTAGE_MS} ms, in which the node is killed too: all arrive, once`,
    async () => {
      const sender = new Sender(installation);
      let node = await installation.startNode('node');
      await until('the key is known', async () => (await installation.evaluate(node)).status === 200);
      await sender.send(node, EVENT_COUNT / 4, 'before');
      await installation.controlPlane.stop('SIGKILL');
      const outageEndsAtMs = performance.now() + OUTAGE_MS;
      await sender.send(node, EVENT_COUNT / 4, 'away');
      expect(spoolBytes(installation, 'node')).toBeGreaterThan(0);
      // What was accepted is in its spool, sealed or not.
      await node.process.stop('SIGKILL');
      node = await installation.startNode('node');
      await sender.send(node, EVENT_COUNT / 4, 'again');
      expect(spoolBytes(installation, 'node')).toBeLessThan(SPOOL_BYTES_MAX);
      await sleep(Math.max(0, outageEndsAtMs - performance.now()));
      await installation.resumeControlPlane();
      await sender.send(node, EVENT_COUNT / 4, 'after');
      const quarter = EVENT_COUNT / 4;
      const all = { before: quarter, away: quarter, again: quarter, after: quarter };
      await until('the spool is empty', () => isSpoolEmpty(installation, 'node'), TIMEOUT_MS / 2);
      expect(await exposuresOf(installation)).toEqual(all);
      expect(sender.sent).toBe(EVENT_COUNT);
      expect(await metric(node, 'guidon_events_total{outcome="dropped"}')).toBe(0);
      expect(await metric(node, 'guidon_events_total{outcome="refused"}')).toBe(0);
    },
    TIMEOUT_MS,
  );

  it('an edge hands what it is told to its upstream', async () => {
    const sender = new Sender(installation);
    const downstream = join(installation.folder.path, 'downstream.key');
    const upstream = await installation.startNode('upstream', ['--downstream-credential-file', downstream]);
    const edge = await startEdge(installation, upstream, downstream);
    edges.push(edge.process);
    await until('the key is known', async () => (await installation.evaluate(edge)).status === 200);
    await sender.send(edge, 1_000, 'edge');
    await until('it is counted', async () => (await exposuresOf(installation)).edge === 1_000, 60_000);
  }, 120_000);
});

describe('over NATS', () => {
  let nats: NatsServer;
  let installation: Installation;
  beforeAll(async () => {
    nats = await NatsServer.start();
    installation = await Installation.start(['--nats', nats.url]);
  });
  afterAll(async () => {
    await installation.dispose();
    await nats.dispose();
  });

  it('all processes of a node tell, and one of them carries it on', async () => {
    const sender = new Sender(installation);
    const node = await installation.startNode('group', ['--processes', '2']);
    await until('the key is known', async () => (await installation.evaluate(node)).status === 200);
    for (let round = 0; round < 20; round += 1) await sender.send(node, 50, 'group');
    await until('it is counted', async () => (await exposuresOf(installation)).group === 1_000, 60_000);
    await until('the spool is empty', () => isSpoolEmpty(installation, 'group'), 60_000);
    expect((await exposuresOf(installation)).group).toBe(1_000);
  }, 120_000);

  it('a subject speaks of its own environment alone (I16)', async () => {
    const { tenantId, environmentId } = installation;
    const { body } = await installation.must('GET', installation.environmentUrl.replace(/\/environments.*/, ''));
    const environment = parseEnvironmentRef({ tenantId, projectId: body.id, environmentId });
    const elsewhere = {
      ...environment,
      environmentId: parseEnvironmentRef({ ...environment, environmentId: 'e' }).environmentId,
    };
    const lineOf = (variation: string): string => {
      const context = { targetingKey: 'u' };
      const event = {
        id: `event-${variation}-0000000001`,
        kind: 'exposure',
        at: Date.now(),
        flag: 'gate',
        variation,
        context,
      } as const;
      return `${encodeEventMessage({ environment, origin: 'srv', receivedAt: 0, events: [event] })}\nno message\n`;
    };
    const carrier = new NatsEvents({ servers: [nats.url], logger: pino({ level: 'silent' }) });
    try {
      await until('it is connected', () => carrier.isConnected());
      await carrier.publish(elsewhere, Buffer.from(lineOf('forged')), 'forged');
      await carrier.publish(environment, Buffer.from(lineOf('genuine')), 'genuine');
      await until('it is counted', async () => (await exposuresOf(installation)).genuine === 1, 60_000);
      expect((await exposuresOf(installation)).forged).toBeUndefined();
    } finally {
      await carrier.close();
    }
  }, 90_000);

  it(
    'what it takes while the control plane is away arrives, and what it does not take goes over HTTP',
    async () => {
      const sender = new Sender(installation);
      const node = await installation.startNode('node');
      await until('the key is known', async () => (await installation.evaluate(node)).status === 200);
      await sender.send(node, 1_000, 'before');
      await until('it is counted', async () => (await exposuresOf(installation)).before === 1_000, 60_000);
      await installation.controlPlane.stop('SIGKILL');
      await sender.send(node, 2_000, 'away');
      // Nobody but NATS is there to take them.
      await until('the spool is empty', () => isSpoolEmpty(installation, 'node'), 60_000);
      await node.process.stop('SIGKILL');
      await installation.resumeControlPlane();
      await until('it is counted', async () => (await exposuresOf(installation)).away === 2_000, 60_000);
      const next = await installation.startNode('node');
      await until('the key is known', async () => (await installation.evaluate(next)).status === 200);
      await nats.kill();
      await sender.send(next, 1_000, 'without');
      await until('it is counted', async () => (await exposuresOf(installation)).without === 1_000, 60_000);
      expect(await exposuresOf(installation)).toMatchObject({ before: 1_000, away: 2_000, without: 1_000 });
    },
    TIMEOUT_MS,
  );
});
