import { InProcessChangeBus } from '@guidon/protocol';
import { type RunningServer, startServer } from '@guidon/server';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { sendJson } from '../support/http.js';
import { metricOf, removeTemporaryDirectories, temporaryDirectory, until } from '../support/running-node.js';
import { trapOn } from '../support/trapping-kernel.js';

/** Revisions go to a canary first (docs/adr/0039). The control plane's clock is ours: nothing is released before the test says so. */
const CANARY_MS = 600_000;
const logger = pino({ level: 'silent' });

let bus: InProcessChangeBus;
let plane: TestControlPlane;
let seed: Seed;
let key = '';
let nodeCredential = '';
let clockMs = 0;
const servers = new Map<string, RunningServer>();
const directories = new Map<string, string>();

const planeOptions = () => ({ bus, now: () => Date.now() + clockMs });

beforeAll(async () => {
  bus = new InProcessChangeBus();
  // Everybody has what was there before there were canaries.
  plane = await TestControlPlane.start(planeOptions());
  seed = await plane.seed();
  for (const name of ['gate', 'other']) {
    await plane.must('POST', `${seed.project}/flags`, { body: booleanFlag(name) });
  }
  const credential = { kind: 'srv', name: 'key' };
  key = (await plane.must('POST', `${seed.dev.path}/credentials`, { body: credential })).body.token;
  nodeCredential = await plane.running.issueNodeCredential('node');
  await restartPlane(CANARY_MS);
  await start('canary', true);
  await start('other');
  await untilServed('canary', await newest());
  await untilServed('other', await newest());
}, 60_000);

afterAll(async () => {
  for (const server of servers.values()) await server.close();
  await plane.dispose();
  await bus.close();
  await removeTemporaryDirectories();
}, 120_000);

async function restartPlane(canaryMs?: number): Promise<void> {
  const { directory } = plane;
  const { port } = plane.running;
  await plane.stop();
  const staged = canaryMs === undefined ? {} : { canaryMs };
  plane = await TestControlPlane.start({ ...planeOptions(), ...staged, directory, port });
}

async function start(name: string, isCanary = false): Promise<void> {
  const dataDirectory = directories.get(name) ?? (await temporaryDirectory());
  directories.set(name, dataDirectory);
  const options = { port: 0, metricsPort: 0, pollIntervalMs: 100, logger, bus };
  const { url: controlPlaneUrl } = plane.running;
  servers.set(name, await startServer({ ...options, dataDirectory, controlPlaneUrl, nodeCredential, isCanary }));
}

const newest = async (): Promise<number> =>
  (await plane.must('GET', `${seed.dev.path}/revisions?limit=1`)).body.items[0].revision;

async function turn(on: boolean): Promise<number> {
  const url = `${seed.dev.path}/flags/gate/targeting`;
  const { headers } = await plane.must('GET', url);
  const answer = await plane.must('PATCH', url, {
    headers: { 'if-match': String(headers.etag) },
    body: { on, fallthrough: { variation: 'on' } },
  });
  return answer.body.revision;
}

async function evaluate(name: string, flags = 'gate') {
  const url = `${servers.get(name)?.url}/v1/evaluate`;
  return (await sendJson(url, { key, body: { flags, context: { targetingKey: 'u' } } })).body;
}

const untilServed = (name: string, revision: number) =>
  until(`${name} serves ${revision}`, async () => Number((await evaluate(name)).revision) === revision, 30_000);

/** Of the environment that is looked at; archiving a flag changes the other one too. */
const staged = async () =>
  (await plane.must('GET', '/api/v1/status')).body.staged.filter(
    ({ environmentId }: { environmentId: string }) => environmentId === seed.dev.id,
  );

const untilStaged = (what: object, reason = /./) =>
  until(
    `staged: ${JSON.stringify(what)}`,
    async () => {
      const [stage] = await staged();
      return (
        stage !== undefined &&
        Object.entries(what).every(([name, value]) => stage[name] === value) &&
        reason.test(stage.reason)
      );
    },
    30_000,
  );

/** Two polls of a node, so that what it should not have would have come. */
async function settle(name: string): Promise<void> {
  const server = servers.get(name);
  if (server === undefined) throw new Error(`${name} runs`);
  const before = await metricOf({ server }, 'guidon_polls_total');
  await until('two more polls', async () => (await metricOf({ server }, 'guidon_polls_total')) >= before + 2);
}

const passTime = () => {
  clockMs += CANARY_MS;
};

test('a change is served by the canary, and by the others once it has been well for the time', async () => {
  const before = await newest();
  const revision = await turn(true);
  await untilServed('canary', revision);
  await untilStaged({ environmentId: seed.dev.id, revision, released: before, state: 'running' });
  await settle('other');
  expect(await evaluate('other')).toMatchObject({ revision: before, value: false });
  const propagation = `/api/v1/revisions/${seed.dev.id}/${revision}/propagation`;
  expect((await plane.must('GET', propagation)).body).toMatchObject({
    isComplete: false,
    staged: { state: 'running' },
  });
  // Nobody is behind what it is given.
  const nodes = (await plane.must('GET', '/api/v1/nodes')).body.items;
  expect(nodes.map((node: { behindCount: number }) => node.behindCount)).toEqual([0, 0]);
  passTime();
  await untilServed('other', revision);
  await until('nothing waits', async () => (await staged()).length === 0);
  expect((await plane.must('GET', propagation)).body.staged).toBeUndefined();
}, 120_000);

test('what changes meanwhile waits for the next turn, so that frequent changes go out as well', async () => {
  const first = await turn(false);
  await untilServed('canary', first);
  await untilStaged({ revision: first, state: 'running' });
  await turn(true);
  const last = await turn(false);
  await settle('canary');
  expect((await evaluate('canary')).revision).toBe(first);
  passTime();
  await untilServed('other', first);
  await untilServed('canary', last);
  await untilStaged({ revision: last, released: first, newest: last, state: 'running' });
  await settle('other');
  expect((await evaluate('other')).revision).toBe(first);
  passTime();
  await untilServed('other', last);
}, 120_000);

test('a new node without data is given what is released, whole, and a revoked key ends everywhere at once', async () => {
  const before = await newest();
  const revision = await turn(true);
  await untilServed('canary', revision);
  await start('fresh');
  await untilServed('fresh', before);
  const extra = (await plane.must('POST', `${seed.dev.path}/credentials`, { body: { kind: 'srv', name: 'x' } })).body;
  const url = `${servers.get('fresh')?.url}/v1/evaluate`;
  const status = async () => (await sendJson(url, { key: extra.token, body: { flags: 'gate', context: {} } })).status;
  await until('the key counts', async () => (await status()) === 200);
  const { headers } = await plane.must('GET', `${seed.dev.path}/credentials/${extra.id}`);
  await plane.must('POST', `${seed.dev.path}/credentials/${extra.id}/revoke`, {
    headers: { 'if-match': String(headers.etag) },
  });
  await until('it is refused', async () => (await status()) === 401);
  expect((await evaluate('fresh')).revision).toBe(before);
  await servers.get('fresh')?.close();
  servers.delete('fresh');
  passTime();
  await untilServed('other', revision);
}, 120_000);

test('a revision that traps stops at the canary; the next one goes through', async () => {
  const before = await newest();
  const mend = trapOn((snapshot) => snapshot.revision === before + 1);
  try {
    expect(await turn(false)).toBe(before + 1);
    // Three traps, and the canary is back at what was good.
    await until(
      'the canary has refused it',
      async () => {
        await evaluate('canary');
        return (await staged())[0]?.state === 'stopped';
      },
      30_000,
    );
    await untilStaged({ revision: before + 1, released: before, state: 'stopped' }, /refused: 3 traps/);
    passTime();
    await settle('other');
    expect(await evaluate('other')).toMatchObject({ revision: before, value: true });
    expect((await evaluate('canary')).revision).toBe(before);
  } finally {
    mend();
  }
  const fixed = await turn(true);
  await untilServed('canary', fixed);
  await untilStaged({ revision: fixed, state: 'running' });
  passTime();
  await untilServed('other', fixed);
}, 120_000);

test('a revision with which the canary answers errors stops there; an admin may release it all the same', async () => {
  for (let count = 0; count < 30; count += 1) await evaluate('canary', 'other');
  const url = `${seed.project}/flags/other`;
  const { headers } = await plane.must('GET', url);
  const before = await newest();
  await plane.must('POST', `${url}/archive`, { headers: { 'if-match': String(headers.etag) } });
  const revision = await newest();
  expect(revision).toBeGreaterThan(before);
  await untilServed('canary', revision);
  for (let count = 0; count < 30; count += 1) {
    expect(await evaluate('canary', 'other')).toMatchObject({ errorCode: 'FLAG_NOT_FOUND' });
  }
  await untilStaged({ revision, released: before, state: 'stopped' }, /% of its answers are errors/);
  passTime();
  await settle('other');
  expect((await evaluate('other')).revision).toBe(before);
  const release = (of: number) => plane.call('POST', `/api/v1/revisions/${seed.dev.id}/${of}/release`);
  expect([(await release(revision + 1)).status, (await release(before)).status]).toEqual([404, 404]);
  expect((await release(revision)).status).toBe(204);
  await untilServed('other', revision);
  expect((await release(revision)).status).toBe(404);
}, 120_000);

test('without a live canary nothing is released, also after a restart of the control plane; without the option everything is', async () => {
  await servers.get('canary')?.close();
  servers.delete('canary');
  const before = await newest();
  const revision = await turn(false);
  passTime();
  await untilStaged({ revision, released: before, state: 'waiting' }, /no canary is live/);
  await settle('other');
  await restartPlane(CANARY_MS);
  await untilStaged({ revision, released: before, state: 'waiting' }, /no canary is live/);
  await settle('other');
  expect(await evaluate('other')).toMatchObject({ revision: before, value: true });
  await restartPlane();
  await untilServed('other', revision);
  expect(await staged()).toEqual([]);
}, 120_000);
