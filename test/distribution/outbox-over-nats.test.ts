import { NatsBus } from '@guidon/cli/run/nats-bus.js';
import { decodeConfigMessage, decodeSigned } from '@guidon/protocol/msgpack';
import { parseManifest } from '@guidon/protocol/signed-config';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';
import { Installation } from '../support/installation.js';
import { NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';

/** The control plane's outbox over NATS: at least once, in order, the newest of a backlog, whatever ends or forgets (I4, M8, M9). */
let nats: NatsServer;
let installation: Installation;
let bus: NatsBus;
const heard: { topic: string; previous: number; revision: number }[] = [];

beforeAll(async () => {
  nats = await NatsServer.start();
  installation = await Installation.start(['--nats', nats.url]);
  bus = new NatsBus({ servers: [nats.url], logger: pino({ level: 'silent' }) });
  bus.subscribe({
    message: (subject, message) => {
      if (!subject.endsWith(installation.environmentId)) return;
      if (subject.includes('.access.')) {
        const { sequence } = JSON.parse(Buffer.from(decodeSigned(message).signed.document).toString('utf8'));
        heard.push({ topic: 'access', previous: 0, revision: Number(sequence) });
        return;
      }
      const { signed, previousRevision } = decodeConfigMessage(message);
      heard.push({ topic: 'config', previous: previousRevision, revision: parseManifest(signed.document).revision });
    },
    resumed: () => {},
  });
});
afterAll(async () => {
  await bus.close();
  await installation.dispose();
  await nats.dispose();
});

const revisions = () => heard.filter(({ topic }) => topic === 'config').map(({ revision }) => revision);
const untilHeard = (revision: number) => until(`revision ${revision}`, () => revisions().at(-1) === revision);

describe('the outbox', () => {
  it('publishes each revision as a change from the one before, in order', async () => {
    await untilHeard(await installation.turn(true));
    heard.length = 0;
    let revision = 0;
    for (let round = 0; round < 10; round += 1) {
      revision = await installation.turn(round % 2 === 1);
      await untilHeard(revision);
    }
    expect(heard.map(({ previous }) => previous)).toEqual(revisions().map((each) => each - 1));
    expect(revisions()).toEqual(Array.from({ length: 10 }, (_, index) => revision - 9 + index));
  });

  it('collapses a backlog to the newest state, in order for each environment', async () => {
    await nats.kill();
    heard.length = 0;
    let revision = 0;
    for (let round = 0; round < 6; round += 1) revision = await installation.turn(round % 2 === 1);
    await nats.resume();
    await untilHeard(revision);
    const news = revisions().filter((each) => each > revision - 6);
    expect(news).toEqual([revision]);
    expect(heard.at(-1)?.previous).toBe(revision - 6);
  });

  it('goes on after kill -9 of the control plane between commit and publish', async () => {
    await nats.pause();
    const revision = await installation.turn(false);
    await installation.issueKey();
    await installation.controlPlane.stop('SIGKILL');
    expect(revisions().at(-1)).toBeLessThan(revision);
    heard.length = 0;
    nats.signal('SIGCONT');
    await installation.resumeControlPlane();
    await untilHeard(revision);
    await until('the access list', () => heard.some(({ topic }) => topic === 'access'));
  });

  it('publishes the newest of every environment again when NATS has lost its store', async () => {
    const revision = await installation.turn(true);
    await untilHeard(revision);
    await nats.kill();
    nats.deleteStore();
    heard.length = 0;
    await nats.resume();
    await untilHeard(revision);
    await until('the access list too', () => heard.some(({ topic }) => topic === 'access'));
  });

  it('does so too when the store was lost while the control plane was down', async () => {
    await installation.controlPlane.stop('SIGKILL');
    await nats.kill();
    nats.deleteStore();
    await nats.resume();
    heard.length = 0;
    await installation.resumeControlPlane();
    await until('config and access list', () => new Set(heard.map(({ topic }) => topic)).size === 2);
  });
});

describe('guidon control-plane', () => {
  it('refuses a NATS server that cannot carry the bus, with one sentence and status 78', async () => {
    const without = await NatsServer.start({ hasJetStream: false });
    const folder = temporaryFolder('refused');
    const refused = new GuidonProcess(['control-plane', '--data', folder.path, '--port', '0', '--nats', without.url]);
    expect(await refused.exitStatus()).toBe(78);
    expect(refused.output.trim()).toBe(
      `guidon: the NATS server at 127.0.0.1:${without.port} runs without JetStream: start it with -js, or add jetstream {} to its file`,
    );
    folder.remove();
    await without.dispose();
  });
});
