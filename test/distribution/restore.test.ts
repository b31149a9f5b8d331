import { join } from 'node:path';
import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GuidonProcess } from '../support/guidon-process.js';
import { Installation, type RunningGuidonNode } from '../support/installation.js';
import { NatsServer } from '../support/nats-server.js';
import { until } from '../support/running-node.js';
import { StreamClient } from '../support/stream-client.js';

/**
 * A restore under a whole fleet of processes, over a NATS that still has every message of before: everybody has seen revisions that are not there
 * any more, and everybody serves the restored state without an operator (I7).
 */
const SERVED_MS_MAX = 10_000;

let nats: NatsServer;
let installation: Installation;
let edge: RunningGuidonNode;
const nodes: RunningGuidonNode[] = [];
const clients: StreamClient[] = [];

beforeAll(async () => {
  nats = await NatsServer.start();
  installation = await Installation.start(['--nats', nats.url]);
  const file = join(installation.folder.path, 'edges.keys');
  nodes.push(await installation.startNode('first', ['--downstream-credential-file', file]));
  nodes.push(await installation.startNode('second'));
  edge = await startEdge(nodes[0]?.url ?? '', file);
}, 60_000);
afterAll(async () => {
  for (const client of clients) client.close();
  await edge.process.stop('SIGKILL');
  await installation.dispose();
  await nats.dispose();
});

async function startEdge(upstream: string, file: string): Promise<RunningGuidonNode> {
  const [, trustRoot = ''] = await installation.controlPlane.waitFor(/trust root: (\S+)/);
  const feed = ['edge', '--upstream', upstream, '--node-credential-file', file, '--trust-root', trustRoot];
  const places = ['--data', join(installation.folder.path, 'edge'), '--port', '0', '--metrics-port', '0'];
  const process = new GuidonProcess([...feed, ...places]);
  const [, url = '', metricsUrl = ''] = await process.waitFor(/(http\S+)\s+health: (http\S+)\/readyz/);
  return { process, url, metricsUrl };
}

/** Changes until the environment is at `revision`. */
async function goOnTo(revision: number): Promise<void> {
  for (let on = true, at = 0; at < revision; on = !on) at = await installation.turn(on);
}

/** What a client that polls has now. */
async function poll(node: RunningGuidonNode): Promise<{ epoch: number; revision: number }> {
  const headers = { authorization: `Bearer ${installation.serverKey}`, accept: 'application/msgpack' };
  const answer = await fetch(`${node.url}/v1/config`, { headers });
  if (!answer.ok) return { epoch: 0, revision: 0 };
  const { signed } = decodeConfigMessage(Buffer.from(await answer.arrayBuffer()));
  const { epoch, revision } = parseManifest(signed.document);
  return { epoch, revision };
}

function openStream(node: RunningGuidonNode, since?: { epoch: number; revision: number }): StreamClient {
  const hello = since === undefined ? {} : { since };
  const client = new StreamClient(node.url, { key: installation.serverKey, hello });
  clients.push(client);
  return client;
}

async function guidon(...args: string[]): Promise<string> {
  const command = new GuidonProcess(args);
  expect(await command.exitStatus(), command.output).toBe(0);
  return command.output;
}

test('backed up at 50, gone on to 100, restored, changed three times: all serve it within 10 s, and never go back', async () => {
  const cp = join(installation.folder.path, 'cp');
  const backup = join(installation.folder.path, 'backup');
  await goOnTo(50);
  await guidon('backup', '--data', cp, '--out', backup);
  await goOnTo(100);
  const all = [...nodes, edge];
  for (const node of all) await installation.untilServed(node, 100);
  const [first, second] = nodes;
  if (first === undefined || second === undefined) throw new Error('there are two');
  const [atFirst, atEdge] = [openStream(first), openStream(edge)];
  for (const client of [atFirst, atEdge]) await client.untilAt(100);
  expect(await poll(second)).toEqual({ epoch: 1, revision: 100 });

  await installation.controlPlane.stop('SIGTERM');
  expect(await guidon('restore', backup, '--data', cp)).toContain('raises every environment to epoch 2');
  await installation.resumeControlPlane();
  const restored: number[] = [];
  for (const on of [true, false, true]) restored.push(await installation.turn(on));
  // The raise of the epoch is a revision of its own.
  expect(restored).toEqual([52, 53, 54]);

  const startedMs = performance.now();
  const position = { epoch: 2, revision: 54 };
  const isAt = (at: { epoch: number; revision: number } | undefined) => JSON.stringify(at) === JSON.stringify(position);
  const resumed = all.map((node) => openStream(node, { epoch: 1, revision: 100 }));
  for (const node of all) {
    const left = () => Math.max(1, SERVED_MS_MAX - (performance.now() - startedMs));
    await until('it evaluates', async () => Number((await installation.evaluate(node)).body.revision) === 54, left());
    expect((await installation.evaluate(node)).body).toMatchObject({ value: true, revision: 54 });
    await until('who polls has it', async () => isAt(await poll(node)), left());
    for (const client of [atFirst, atEdge, ...resumed]) await until('streams have it', () => isAt(client.at), left());
  }
  const tookMs = Math.round(performance.now() - startedMs);
  console.log(`a fleet of two nodes and an edge serves what was restored ${tookMs} ms after the third change`);
  for (const client of [atFirst, atEdge, ...resumed]) expect(client.failure).toBeUndefined();
  // Numbers that come again are no longer those of before: 100 of the old epoch stays away.
  await goOnTo(100);
  for (const node of all) await installation.untilServed(node, 100);
  for (const client of [atFirst, atEdge, ...resumed]) await client.untilAt(100);
  for (const client of [atFirst, atEdge, ...resumed])
    expect([client.at, client.failure]).toEqual([{ epoch: 2, revision: 100 }, undefined]);
}, 120_000);
