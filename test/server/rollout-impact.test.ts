import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RunningServer, startServer } from '@guidon/server';
import { createClient, type GuidonClient } from '@guidon/server-sdk';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';

/** A rollout is widened, and somebody asks what it did: the SDK, a node and a control plane, over HTTP. */

const MINUTE_MS = 60_000;
const PEOPLE = 40;

let plane: TestControlPlane;
let seed: Seed;
let server: RunningServer;
let client: GuidonClient;
let directory: string;
/** Of the control plane, which puts what is of its future into its now: so a test need not wait for minutes. */
let now = Date.now() - 20 * MINUTE_MS;

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => now });
  seed = await plane.seed();
  await plane.must('POST', `${seed.project}/flags`, { body: booleanFlag('checkout') });
  const credential = await plane.must('POST', `${seed.dev.path}/credentials`, {
    body: { kind: 'srv', name: 'server' },
  });
  directory = mkdtempSync(join(tmpdir(), 'guidon-impact-'));
  server = await startServer({
    dataDirectory: directory,
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: plane.running.url,
    nodeCredential: await plane.running.issueNodeCredential('node'),
    trustRoot: plane.running.trustRoot,
    logger: pino({ level: 'silent' }),
    pollIntervalMs: 100,
  });
  client = createClient({ url: server.url, key: credential.body.token, trustRoot: plane.running.trustRoot });
  await client.waitForReady({ timeoutMs: 15_000 });
});
afterAll(async () => {
  await client.close();
  await server.close();
  rmSync(directory, { recursive: true });
  await plane.dispose();
});

/** Widens the rollout; resolves with the revision, once the client serves it. */
async function rollOut(on: number): Promise<number> {
  const path = `${seed.dev.path}/flags/checkout/targeting`;
  const { headers } = await plane.must('GET', path);
  const weights = [
    { variation: 'on', weight: on * 1_000 },
    { variation: 'off', weight: (100 - on) * 1_000 },
  ];
  const body = { on: true, fallthrough: { rollout: { weights, seed: 'one', experiment: 'guarded' } } };
  const edited = await plane.must('PATCH', path, { body, headers: { 'if-match': String(headers.etag) } });
  await client.waitForRevision(edited.body.revision, { timeoutMs: 15_000 });
  return edited.body.revision;
}

/** Everybody comes by and buys: for 30 with the new checkout, for 10 with the old one. Resolves with how many had the new one. */
async function shop(): Promise<number> {
  const { body: before } = await plane.must('GET', `${seed.dev.path}/usage?interval=minute&from=0`);
  let onCount = 0;
  for (let index = 0; index < PEOPLE; index += 1) {
    const context = { targetingKey: `user-${index}` };
    const isOn = client.boolean('checkout', context, false);
    onCount += Number(isOn);
    client.track('order', context, { value: isOn ? 30 : 10 });
    if (isOn) client.track('error', context);
  }
  await client.flush();
  const told = before.total.metricEvents + PEOPLE + onCount;
  await until('all has been counted', async () => {
    const { body } = await plane.must('GET', `${seed.dev.path}/usage?interval=minute&from=0`);
    return body.total.metricEvents === told;
  });
  return onCount;
}

const metricsOf = (onCount: number) => [
  { metric: 'error', variation: 'on', count: onCount, sum: 0, mean: null },
  { metric: 'order', variation: 'off', count: PEOPLE - onCount, sum: 10 * (PEOPLE - onCount), mean: 10 },
  { metric: 'order', variation: 'on', count: onCount, sum: 30 * onCount, mean: 30 },
];

test('says of each variation what those did who were served it, before and after the change', async () => {
  await rollOut(20);
  now += MINUTE_MS;
  const before = await shop();
  now += 5 * MINUTE_MS;
  const revision = await rollOut(70);
  now += 2 * MINUTE_MS;
  const after = await shop();
  expect([before > 0, after > before, after < PEOPLE]).toEqual([true, true, true]);
  now += MINUTE_MS;

  const { body } = await plane.must('GET', `${seed.dev.path}/revisions/${revision}/impact?spans=10`);
  const [impact] = body.flags;
  expect([impact.flag, body.flagCount]).toEqual(['checkout', 1]);
  expect(impact.before.metrics).toEqual(metricsOf(before));
  expect(impact.after.metrics).toEqual(metricsOf(after));
  expect([body.before.metricEvents, body.after.metricEvents]).toEqual([PEOPLE + before, PEOPLE + after]);
  // Whoever kept what he had is not exposed to it anew.
  expect(impact.before.exposures).toEqual({ on: before, off: PEOPLE - before });
  expect(impact.after.exposures).toEqual({ on: after - before });

  // Back again: who had the new one for a while is counted with the old one.
  now += 5 * MINUTE_MS;
  const back = await rollOut(20);
  now += 2 * MINUTE_MS;
  expect(await shop()).toBe(before);
  now += MINUTE_MS;
  const undone = (await plane.must('GET', `${seed.dev.path}/revisions/${back}/impact?spans=10`)).body;
  expect(undone.flags[0].after.metrics).toEqual(metricsOf(before));
});
