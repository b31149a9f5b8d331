import { parseEnvironmentRef } from '@guidon/protocol';
import { encodeEventMessage } from '@guidon/protocol/events';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

const MINUTE_MS = 60_000;
const STARTED_AT = 1_795_000_020_000;

let plane: TestControlPlane;
let seed: Seed;
let node: string;
let projectId: string;
let nowMs = STARTED_AT;
let eventCount = 0;

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => nowMs });
  seed = await plane.seed();
  node = await plane.running.issueNodeCredential('n');
  projectId = (await plane.must('GET', seed.project)).body.id;
  for (const key of ['gate', 'beside']) await plane.must('POST', `${seed.project}/flags`, { body: booleanFlag(key) });
});
afterAll(() => plane.dispose());

/** What a node says that it has answered, and a purchase. */
async function tell(flag: string, counts: Readonly<Record<string, number>>): Promise<void> {
  const id = (): string => {
    eventCount += 1;
    return `event-${String(eventCount).padStart(14, '0')}`;
  };
  const raw = encodeEventMessage({
    environment: parseEnvironmentRef({ tenantId: seed.tenantId, projectId, environmentId: seed.dev.id }),
    origin: 'node',
    receivedAt: nowMs,
    events: [
      {
        id: id(),
        kind: 'summary',
        from: nowMs - 1,
        to: nowMs,
        counts: Object.entries(counts).map(([variation, count]) => ({ flag, variation, count })),
      },
      { id: id(), kind: 'metric', at: nowMs, key: 'order', value: 3, context: { targetingKey: 'u' } },
    ],
  });
  const headers = { 'content-type': 'application/x-ndjson' };
  const { body } = await plane.must('POST', '/internal/v1/events', { token: node, headers, raw });
  expect(body).toMatchObject({ accepted: 2, duplicates: 0 });
}

const impactOf = (revision: number, query = '') =>
  plane.call('GET', `${seed.dev.path}/revisions/${revision}/impact${query}`);

test('tells by variation what a flag was evaluated to before and after the change of it, and nothing of the minute between', async () => {
  await tell('gate', { off: 100 });
  nowMs += 2 * MINUTE_MS;
  await tell('gate', { off: 60, on: 1 });
  await tell('beside', { off: 7 });
  nowMs += 5 * MINUTE_MS;
  await tell('gate', { off: 900 });
  const path = `${seed.dev.path}/flags/gate/targeting`;
  const edited = await plane.must('PATCH', path, { body: { on: true }, headers: { 'if-match': '"1"' } });
  const { revision } = edited.body;
  await tell('gate', { on: 900 });
  nowMs += MINUTE_MS;
  await tell('gate', { on: 40, off: 2 });

  const { body } = await impactOf(revision, '?spans=6');
  expect(body).toMatchObject({ revision, interval: 'minute', action: 'targeting.update', flagCount: 1 });
  // The first minute lies seven minutes back.
  expect(body.before).toMatchObject({ metricEvents: 2 });
  expect(body.after).toMatchObject({ metricEvents: 1 });
  expect(body.flags).toEqual([
    {
      flag: 'gate',
      before: { evaluations: { off: 60, on: 1 }, errors: {}, clientReads: {}, exposures: {}, metrics: [] },
      after: { evaluations: { on: 40, off: 2 }, errors: {}, clientReads: {}, exposures: {}, metrics: [] },
    },
  ]);
  expect((await impactOf(revision, '?spans=7')).body.flags[0].before.evaluations).toEqual({ off: 160, on: 1 });
  const other = (await impactOf(revision, '?flag=beside')).body;
  expect([other.flags[0].flag, other.flags[0].before.evaluations]).toEqual(['beside', { off: 7 }]);
  const hourly = (await impactOf(revision, '?interval=hour&spans=1')).body;
  expect(hourly.before.to - hourly.before.from).toBe(60 * MINUTE_MS - 1);
});

test('refuses what is no revision or no query', async () => {
  expect((await impactOf(999)).status).toBe(404);
  expect((await impactOf(0)).status).toBe(422);
  for (const query of ['?spans=0', '?spans=1441', '?interval=day', '?flag=%2F']) {
    expect((await impactOf(1, query)).status, query).toBe(422);
  }
});
