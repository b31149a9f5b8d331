import { afterEach, describe, expect, test } from 'vitest';
import { sendJson } from '../support/http.js';
import { until } from '../support/running-node.js';
import { EventReader, StreamClient, type StreamClientOptions } from '../support/stream-client.js';
import { StreamedPlatform, type StreamedTenant, WEB_ORIGIN } from '../support/streamed-platform.js';

/** What a process bounds of its streams, and what happens there (I17, I25, M15, threat model 2.2): each on a node of its own. */
let platform: StreamedPlatform;
const clients: StreamClient[] = [];
const readers: EventReader[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) client.close();
  for (const reader of readers.splice(0)) reader.close();
  await platform.close();
});

function open(options: StreamClientOptions): StreamClient {
  const client = new StreamClient(platform.server.url, options);
  clients.push(client);
  return client;
}

async function openEvents(key: string, headers: Record<string, string> = {}): Promise<EventReader> {
  const reader = await EventReader.open(`${platform.server.url}/v1/stream/sse`, {
    authorization: `Bearer ${key}`,
    ...headers,
  });
  readers.push(reader);
  return reader;
}

const evaluates = async ({ srv }: StreamedTenant): Promise<boolean> =>
  (await sendJson(`${platform.server.url}/v1/evaluate`, { key: srv, body: { context: {} } })).status === 200;

describe('a slow consumer', () => {
  test('is sent one frame at a time and then the newest: what lies between is skipped', async () => {
    platform = await StreamedPlatform.start();
    const a = await platform.addTenant('a');
    const client = open({ key: a.srv, acknowledges: false });
    await client.untilAt(1);
    let revision = 0;
    for (let count = 0; count < 6; count += 1) revision = await platform.change(a, 'gate', { on: count % 2 === 0 });
    expect(client.frames.length).toBe(1);
    client.send({ type: 'ack', ...client.at });
    await client.untilAt(revision);
    expect(client.frames.map(({ type }) => type)).toEqual(['put', 'patch']);
  });

  test.each(['does not acknowledge', 'does not read'])(
    'that %s is dropped with 1013, and others go on',
    async (how) => {
      platform = await StreamedPlatform.start({ streams: { slowMs: 1_000 } });
      const a = await platform.addTenant('a');
      const [slow, other] = [open({ key: a.srv, acknowledges: false }), open({ key: a.srv })];
      await slow.untilAt(1);
      if (how === 'does not read') slow.socket.pause();
      await other.untilAt(await platform.change(a, 'gate', { on: true }));
      await until(
        'the node has dropped it',
        async () => (await platform.metric('guidon_streams_closed_total{why="1013"}')) === 1,
      );
      slow.socket.resume();
      expect((await slow.untilClosed()).code).toBe(1013);
      expect(slow.messages.at(-1)).toMatchObject({ type: 'bye', reason: 'slow' });
      await other.untilAt(await platform.change(a, 'gate', { on: false }));
      expect(other.closed).toBeUndefined();
    },
  );

  test('of events is dropped too', async () => {
    platform = await StreamedPlatform.start({ streams: { slowMs: 1_000 } });
    const a = await platform.addTenant('a');
    const large = Array.from({ length: 16 }, (_, index) => `large${index}`);
    for (const key of large) {
      const variations = [
        { key: 'on', value: 'x'.repeat(60_000) },
        { key: 'off', value: '' },
      ];
      await platform.plane.must('POST', `${a.project}/flags`, { body: { key, type: 'string', variations } });
    }
    const answer = await fetch(`${platform.server.url}/v1/stream/sse`, {
      headers: { authorization: `Bearer ${a.srv}` },
    });
    // Nobody reads: buffers of both sides fill up with a megabyte a change.
    let count = 0;
    await until(
      'the node has dropped it',
      async () => {
        count += 1;
        const changes = large.map((flag) => ({ op: 'targeting.patch', flag, patch: { on: count % 2 === 1 } }));
        const headers = { 'if-match': `"${await platform.revision(a.environment)}"` };
        await platform.plane.must('POST', `${a.environment}/changes`, { body: { changes }, headers });
        return (await platform.metric('guidon_streams_closed_total{why="1013"}')) === 1;
      },
      100_000,
    );
    await answer.body?.cancel().catch(() => undefined);
    expect(await evaluates(a)).toBe(true);
  }, 120_000);
});

describe('a drain', () => {
  test('tells every stream when to come back, each at a time of its own; they resume on the node that follows', async () => {
    platform = await StreamedPlatform.start();
    const a = await platform.addTenant('a');
    const revision = await platform.revision(a.environment);
    const streams = Array.from({ length: 30 }, () => open({ key: a.srv }));
    const web = open({ key: a.web, origin: WEB_ORIGIN });
    const events = await openEvents(a.srv);
    for (const stream of [...streams, web]) await stream.untilAt(1);
    await events.until('the events have begun', () => events.events.length === 1);
    await platform.restartNode(0);
    const delays = new Set<number>();
    for (const stream of [...streams, web]) {
      expect(await stream.untilClosed()).toEqual({ code: 1012, reason: 'draining' });
      const bye = stream.messages.at(-1);
      if (bye?.type !== 'bye') throw new Error('no goodbye');
      delays.add(bye.reconnectAfterMs);
    }
    expect(delays.size).toBeGreaterThan(20);
    expect(events.events.at(-1)?.message).toMatchObject({ type: 'bye', reason: 'draining' });
    const [resumed] = [open({ key: a.srv, hello: { since: streams[0]?.at ?? { epoch: 0, revision: 0 } } })];
    const next = await platform.change(a, 'gate', { on: true });
    await resumed.untilAt(next);
    expect([next, resumed.frames.map(({ type }) => type)]).toEqual([revision + 1, ['patch']]);
  });
});

describe('a storm', () => {
  test('of connects: more than the bound are told to come back, everybody gets in, and every evaluation is answered', async () => {
    platform = await StreamedPlatform.start({ streams: { connectsPerSecond: 100, connectBurst: 50 } });
    const a = await platform.addTenant('a');
    let refused = 0;
    const join = async (): Promise<StreamClient> => {
      for (;;) {
        const client = open({ key: a.srv });
        await until('an answer', () => client.at !== undefined || client.closed !== undefined);
        if (client.at !== undefined) return client;
        expect(client.refusedWith).toBe(503);
        refused += 1;
        await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 800));
      }
    };
    const joined = Promise.all(Array.from({ length: 200 }, join));
    let failed = 0;
    for (let count = 0; count < 50; count += 1) if (!(await evaluates(a))) failed += 1;
    await joined;
    expect([failed, refused > 0]).toEqual([0, true]);
    const answers = await Promise.all(Array.from({ length: 100 }, () => openEvents(a.srv)));
    const late = answers.find(({ status }) => status === 503);
    expect(Number(late?.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  }, 60_000);

  test('of puts: they are given out at the bound, each waits its turn', async () => {
    platform = await StreamedPlatform.start({ streams: { putBytesPerSecond: 128 * 1024 } });
    const a = await platform.addTenant('a');
    const startedMs = performance.now();
    const streams = Array.from({ length: 40 }, () => open({ key: a.srv }));
    for (const stream of streams) await stream.untilAt(1);
    // 40 of at least 8 KiB each, a quarter of a second's worth of them at once.
    expect(performance.now() - startedMs).toBeGreaterThan(1_500);
  });

  test('of puts beyond what can wait: the rest is told to come back', async () => {
    platform = await StreamedPlatform.start({ streams: { putBytesPerSecond: 16 * 1024, waitingMs: 1_000 } });
    const a = await platform.addTenant('a');
    const streams = Array.from({ length: 20 }, () => open({ key: a.srv }));
    await until('each has an answer', () =>
      streams.every(({ at, closed }) => at !== undefined || closed !== undefined),
    );
    const busy = streams.filter(({ at }) => at === undefined);
    expect(busy.length).toBeGreaterThan(0);
    expect(busy.length).toBeLessThan(20);
    for (const { closed, messages } of busy) {
      expect([closed?.code, messages.at(-1)]).toMatchObject([1013, { type: 'bye', reason: 'busy' }]);
    }
  });
});

describe('quotas of connections', () => {
  test('hold for streams: one more is 4429 or 429, another tenant is not concerned, and who leaves makes room', async () => {
    platform = await StreamedPlatform.start({
      quotas: {
        node: { connections: 1_000, heldBytes: 2 ** 28, tenantHeldBytes: 2 ** 26 },
        tenant: { connections: 5 },
        credential: { connections: 3 },
      },
    });
    const [a, b] = [await platform.addTenant('a'), await platform.addTenant('b')];
    const held = [open({ key: a.srv }), open({ key: a.srv }), open({ key: a.srv })];
    for (const stream of held) await stream.untilAt(1);
    expect((await open({ key: a.srv }).untilClosed()).code).toBe(4429);
    expect((await openEvents(a.srv)).status).toBe(429);
    const webs = [open({ key: a.web, origin: WEB_ORIGIN }), open({ key: a.web, origin: WEB_ORIGIN })];
    for (const stream of webs) await stream.untilAt(1);
    // The credential has room, its tenant has none.
    expect((await open({ key: a.web, origin: WEB_ORIGIN }).untilClosed()).code).toBe(4429);
    await open({ key: b.srv }).untilAt(1);
    held[0]?.close();
    await until('there is room', async () => {
      const client = open({ key: a.srv });
      await until('an answer', () => client.at !== undefined || client.closed !== undefined);
      return client.at !== undefined;
    });
  });
});

test('sockets that have ended make room: the bound is of those that are open', async () => {
  platform = await StreamedPlatform.start({
    quotas: {
      node: { connections: 40, heldBytes: 2 ** 28, tenantHeldBytes: 2 ** 26 },
      tenant: {},
      credential: {},
    },
  });
  const a = await platform.addTenant('a');
  for (let count = 0; count < 80; count += 1) {
    const client = open({ key: a.srv });
    await client.untilAt(1);
    client.close();
    await until('it has ended', () => client.closed !== undefined);
  }
  await until('the count falls', async () => (await platform.metric('guidon_connections')) < 30);
});

test('a heartbeat says where the client is', async () => {
  platform = await StreamedPlatform.start({ streams: { heartbeatMs: 500 } });
  const a = await platform.addTenant('a');
  const [client, events] = [open({ key: a.srv }), await openEvents(a.srv)];
  await client.untilAt(1);
  await until('it beats', () => client.messages.filter(({ type }) => type === 'heartbeat').length >= 2);
  await events.until('it beats', () => events.events.filter(({ message }) => message.type === 'heartbeat').length >= 2);
  expect(client.messages.at(-1)).toMatchObject({ type: 'heartbeat', ...client.at });
});
