import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
import { KeptConnection, RunningGroup } from '../support/running-group.js';
import { removeTemporaryDirectories, temporaryDirectory, until } from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** A node of three processes (architecture decision 6): what clients, operators and Prometheus see of them, whatever happens to one. */
const PROCESS_COUNT = 3;
/** So many that a process without any is an accident of one in 10 000. */
const CONNECTION_COUNT = 24;

let feed: SignedFeedServer;
let environment: FeedEnvironment;
let key = '';
let group: RunningGroup;
let connections: KeptConnection[] = [];

beforeAll(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('main');
  await environment.publish([aFlag('flag')]);
  key = await environment.issueCredential('srv', { permissions: ['explain'] });
  group = await RunningGroup.start(feed, { processCount: PROCESS_COUNT });
  await untilServed();
});

afterEach(async () => {
  for (const connection of connections.splice(0)) connection.close();
  await untilAllListen();
  await untilServed();
});

afterAll(async () => {
  await group.group.close();
  await feed.stop();
  await removeTemporaryDirectories();
});

function connect(): KeptConnection[] {
  connections = Array.from({ length: CONNECTION_COUNT }, () => new KeptConnection(group.group.url, key));
  return connections;
}

/** The newest revision in every process that listens, credential included. */
async function untilServed(): Promise<void> {
  const { revision } = environment;
  await until(`revision ${revision} everywhere`, async () => {
    const isThere = (await group.revisionEverywhere(environment.ref.environmentId)) === revision;
    return isThere && (await group.readyStatus()) === 200;
  });
}

const untilAllListen = () =>
  until(
    'all listen',
    async () => (await group.processes()).filter(({ isListening }) => isListening).length === PROCESS_COUNT,
  );
const ask = (connection: KeptConnection) => connection.evaluate({ flags: 'flag', context: {} });
const publish = (variation: string) => environment.publish([aFlag('flag', { fallthrough: { variation } })]);

describe('a node of several processes', () => {
  it('every process answers on the one port, explains, and is counted once', async () => {
    const before = await group.metrics();
    const answers = await Promise.all(connect().map(ask));
    for (const { status, body } of answers) expect({ status, ...body }).toMatchObject({ status: 200, value: 'no' });
    for (const connection of connections.slice(0, 8)) expect((await ask(connection)).status).toBe(200);
    const after = await group.metrics();
    expect(after.perProcess('guidon_process_requests').every((count) => count > 0)).toBe(true);
    const total = 'guidon_http_requests_total{route="/v1/evaluate",status="200"}';
    expect(after.value(total) - before.value(total)).toBe(CONNECTION_COUNT + 8);
    expect(after.value('guidon_store_healthy')).toBe(1);
    expect(after.perProcess('guidon_process_leading').reduce((sum, value) => sum + value, 0)).toBe(1);
    for (let round = 0; round < 12; round += 1) {
      const explained = await sendJson(`${group.group.url}/v1/explain`, {
        key,
        headers: { connection: 'close' },
        body: { flag: 'flag', context: {} },
      });
      expect(explained.status, JSON.stringify(explained.body)).toBe(200);
    }
  });

  it('all answer a new revision within 100 ms of the first that does', async () => {
    connect();
    const lags: number[] = [];
    for (let round = 0; round < 11; round += 1) {
      await publish(round % 2 === 0 ? 'yes' : 'no');
      const { revision } = environment;
      const seenAtMs = await Promise.all(
        connections.map(async (connection) => {
          while (Number((await ask(connection)).body.revision) < revision)
            await new Promise((wake) => setTimeout(wake, 5));
          return performance.now();
        }),
      );
      lags.push(Math.max(...seenAtMs) - Math.min(...seenAtMs));
    }
    const processes = (await group.metrics()).perProcess('guidon_process_requests');
    expect(processes.every((count) => count > 0)).toBe(true);
    lags.sort((a, b) => a - b);
    console.log(
      `revision everywhere after the first: median ${lags[5]?.toFixed(0)} ms, worst ${lags[10]?.toFixed(0)} ms`,
    );
    // The third best: whatever else the machine does holds up some rounds. Without a word from the leader each process looks by itself, once a
    // second, and three rounds of eleven are as good one time in ten thousand.
    expect(lags[2]).toBeLessThan(100);
  });

  const succeededMs: number[] = [];
  it.each([0, 10, 40])(
    'the leader killed %i ms after a change: another leads, the change arrives everywhere',
    async (delayMs) => {
      const leader = await group.leader();
      await publish('yes');
      await new Promise((wake) => setTimeout(wake, delayMs));
      const killedAtMs = performance.now();
      process.kill(leader.pid, 'SIGKILL');
      await until('another leads', async () =>
        (await group.processes()).some(({ isLeading, pid }) => isLeading && pid !== leader.pid),
      );
      succeededMs.push(performance.now() - killedAtMs);
      await untilServed();
      await untilAllListen();
      await untilServed();
      for (const connection of connect()) {
        expect((await ask(connection)).body).toMatchObject({ revision: environment.revision, value: 'yes' });
      }
    },
  );

  it('another leads within 1 s of the death of the leader, at the best of those three times', () => {
    expect(succeededMs.length).toBe(3);
    expect(Math.min(...succeededMs)).toBeLessThan(1_000);
  });

  it('I7: a leader is never behind what was served before, however many are killed', async () => {
    for (let round = 0; round < 3; round += 1) {
      await publish(round % 2 === 0 ? 'yes' : 'no');
      await untilServed();
      const { revision } = environment;
      process.kill((await group.leader()).pid, 'SIGKILL');
      const answers = await Promise.all(connect().map((connection) => ask(connection).catch(() => undefined)));
      for (const answer of answers) if (answer?.status === 200) expect(answer.body.revision).toBe(revision);
      for (const connection of connections.splice(0)) connection.close();
      await untilAllListen();
    }
  });

  it('a killed process loses its own connections alone, and no count falls', async () => {
    await Promise.all(connect().map(ask));
    const before = await group.metrics();
    const victim = await group.follower();
    const lost = before.perProcess('guidon_process_requests')[victim.index];
    process.kill(victim.pid, 'SIGKILL');
    await until('gone', async () => (await group.processes()).every(({ pid }) => pid !== victim.pid));
    const answers = await Promise.all(connections.map((connection) => ask(connection)));
    expect(answers.every(({ status }) => status === 200)).toBe(true);
    // Each connection asked once before; whoever had to connect again was on the one that died.
    expect(connections.filter(({ connectionCount }) => connectionCount > 1)).toHaveLength(lost ?? -1);
    expect(lost).toBeGreaterThan(0);
    const after = await group.metrics();
    const total = 'guidon_http_requests_total{route="/v1/evaluate",status="200"}';
    expect(after.value(total)).toBe(before.value(total) + CONNECTION_COUNT);
    await untilAllListen();
  });

  it('a new environment and a revoked credential arrive in every process', async () => {
    const other = feed.addEnvironment('other');
    await other.publish([aFlag('flag')]);
    const otherKey = await other.issueCredential('srv');
    const statusesOf = async (token: string): Promise<Set<number>> => {
      const asked = Array.from({ length: CONNECTION_COUNT }, () => new KeptConnection(group.group.url, token));
      const answers = await Promise.all(asked.map(ask));
      for (const connection of asked) connection.close();
      return new Set(answers.map(({ status }) => status));
    };
    await until('200 everywhere', async () => String([...(await statusesOf(otherKey))]) === '200');
    await other.revoke(otherKey);
    await until('401 everywhere', async () => String([...(await statusesOf(otherKey))]) === '401');
    expect([...(await statusesOf(key))]).toEqual([200]);
  });

  it('I12: answers the same after a restart with the control plane down', async () => {
    await publish('yes');
    await untilServed();
    await group.group.close();
    await feed.stop();
    group = await RunningGroup.start(feed, { processCount: PROCESS_COUNT, dataDirectory: group.directory });
    await until('ready', async () => (await group.readyStatus()) === 200);
    for (const connection of connect()) {
      expect(await ask(connection)).toMatchObject({
        status: 200,
        body: { revision: environment.revision, value: 'yes' },
      });
    }
    await feed.start();
  });
});

describe('a node that cannot start', () => {
  it('gives up, and says how its processes end', async () => {
    const entry = join(await temporaryDirectory(), 'ends.mjs');
    await writeFile(entry, 'process.exit(3);');
    const started = RunningGroup.start(feed, { processCount: 4, entry });
    await expect(started).rejects.toMatchObject({ code: 'not-ready', message: expect.stringContaining('status 3') });
  });

  it('says at once that the port is taken', async () => {
    const port = Number(new URL(feed.url).port);
    await expect(RunningGroup.start(feed, { processCount: 2, port })).rejects.toMatchObject({ code: 'conflict' });
  });

  it('is not ready before it has heard of any environment (I13), and live', async () => {
    await feed.stop();
    const cold = await RunningGroup.start(feed, { processCount: 2 });
    try {
      expect(await cold.readyStatus()).toBe(503);
      expect((await fetch(`${cold.group.metricsUrl}/livez`)).status).toBe(200);
      const { status } = await new KeptConnection(cold.group.url, key).evaluate({ context: {} });
      expect(status).toBe(503);
      await feed.start();
      await until('ready', async () => (await cold.readyStatus()) === 200);
    } finally {
      await cold.group.close();
    }
  });
});
