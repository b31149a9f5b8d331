import { InProcessChangeBus } from '@guidon/protocol';
import type { TenantQuotas } from '@guidon/protocol/signed-config';
import { parseNodeQuotas } from '@guidon/server';
import { encode } from '@msgpack/msgpack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { type Answer, sendJson, sendMsgpack } from '../support/http.js';
import { postBytes, RawConnection } from '../support/raw-http.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** Quotas over real sockets (I17, I25): what one tenant may use, and that another one does not notice. */
const context = { targetingKey: 'user-1' };
const one = { flags: 'greeting', context };
const CONNECTIONS_MAX = 40;
const HELD_MAX = 8 * 1024 * 1024;
/** More than the buffers of a socket take on either side. */
const LARGE_COUNT = 200;
const LARGE_BYTES = 60_000;
const ANSWER_BYTES = LARGE_COUNT * (LARGE_BYTES + 200);

let feed: SignedFeedServer;
let node: RunningNode;
let environmentCount = 0;

beforeAll(async () => {
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  node = await startNode(feed, {
    quotas: parseNodeQuotas(
      JSON.stringify({
        node: { connections: CONNECTIONS_MAX, heldBytes: 2 * HELD_MAX, tenantHeldBytes: HELD_MAX },
        credential: { requestsPerSecond: 1_000_000 },
      }),
    ),
  });
});

afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

/** A tenant of its own with one environment. */
async function aTenant(quotas?: TenantQuotas): Promise<FeedEnvironment> {
  environmentCount += 1;
  const environment = feed.addEnvironment(`quota-${environmentCount}`);
  environment.tenantQuotas = quotas;
  await environment.publish([
    aFlag('greeting'),
    aFlag('large', {
      type: 'string',
      variations: [
        { key: 'no', value: 'x'.repeat(LARGE_BYTES) },
        { key: 'off', value: '' },
      ],
    }),
    aFlag('medium', {
      type: 'string',
      variations: [
        { key: 'no', value: 'x'.repeat(2_000) },
        { key: 'off', value: '' },
      ],
    }),
  ]);
  return environment;
}

async function aKey(environment: FeedEnvironment, quotas?: TenantQuotas): Promise<string> {
  const key = await environment.issueCredential('srv', quotas === undefined ? {} : { quotas });
  await untilCurrent(node, environment);
  return key;
}

const ask = (key: string, body: unknown = one): Promise<Answer> =>
  sendJson(`${node.server.url}/v1/evaluate`, { key, body });

function batchOf(count: number): unknown {
  return { contexts: Array.from({ length: count }, () => context), flags: ['greeting'] };
}

function rawPost(key: string, body: unknown, path = '/v1/evaluate', contentLength?: number): Buffer {
  const bytes = encode(body);
  return postBytes(
    path,
    [
      ['Host', 'localhost'],
      ['Content-Type', 'application/msgpack'],
      ['Authorization', `Bearer ${key}`],
      ['Content-Length', String(contentLength ?? bytes.length)],
    ],
    bytes,
  );
}

describe('requests a second', () => {
  it.each([
    ['JSON', sendJson],
    ['msgpack', sendMsgpack],
  ])('over the quota of a credential: 429 with whole seconds, in %s, and the tenant goes on', async (_name, send) => {
    const environment = await aTenant();
    const limited = await aKey(environment, { requestsPerSecond: 1 });
    const free = await aKey(environment);
    await untilAccepted(node, free);
    const answers = [];
    for (let index = 0; index < 4; index += 1) {
      answers.push(await send(`${node.server.url}/v1/evaluate`, { key: limited, body: one }));
    }
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect(refused?.body).toMatchObject({
      code: 'rate-limited',
      type: '/problems/rate-limited',
      status: 429,
      scope: 'credential',
      quota: 'requestsPerSecond',
    });
    expect(answers[0]?.status).toBe(200);
    expect((await ask(free)).status).toBe(200);
    expect(await metricOf(node, 'guidon_quota_refusals_total')).toBeGreaterThan(0);
  });

  it('of a tenant hold for all its credentials together, and not for another tenant (I16)', async () => {
    const environment = await aTenant({ requestsPerSecond: 2 });
    const keys = [await aKey(environment), await aKey(environment)];
    const other = await aKey(await aTenant());
    await untilAccepted(node, other);
    const statuses: number[] = [];
    for (let index = 0; index < 8; index += 1) statuses.push((await ask(keys[index % 2] ?? '')).status);
    expect(statuses.filter((status) => status === 429).length).toBeGreaterThanOrEqual(4);
    expect((await ask(other)).status).toBe(200);
  });

  it('follow the access list: what it takes back holds no longer', async () => {
    const environment = await aTenant({ requestsPerSecond: 1 });
    const key = await aKey(environment);
    await until('it is over its quota', async () => (await ask(key)).status === 429);
    environment.tenantQuotas = undefined;
    await aKey(environment);
    await until('it may ask again', async () => {
      const statuses = await Promise.all(Array.from({ length: 5 }, async () => (await ask(key)).status));
      return statuses.every((status) => status === 200);
    });
  });

  it('close the connection of who does not stop after a hundred refusals in a second', async () => {
    const key = await aKey(await aTenant({ requestsPerSecond: 1 }));
    await until('it is over its quota', async () => (await ask(key)).status === 429);
    const connection = await RawConnection.open(node.server.port);
    const statuses: number[] = [];
    // A slow machine may need more than a second for a hundred: then the count starts anew.
    for (let index = 0; index < 2_000 && !connection.isClosed; index += 1) {
      connection.send(rawPost(key, one));
      const answer = await connection.read();
      if (answer === undefined) break;
      statuses.push(answer.status);
    }
    // By itself a connection ends only after ten idle seconds.
    expect(statuses.length).toBeLessThan(2_000);
    expect(statuses.length).toBeGreaterThan(30);
    expect(statuses.filter((status) => status !== 429).length).toBeLessThan(10);
  });
});

describe('evaluations a second', () => {
  it('let a batch larger than the quota pass once, then refuse until it is earned back', async () => {
    const environment = await aTenant({ evaluationsPerSecond: 50 });
    const key = await aKey(environment);
    await untilAccepted(node, key);
    await until('the bucket is full again', async () => (await ask(key)).status === 200);
    const batch = await sendMsgpack(`${node.server.url}/v1/evaluate/batch`, { key, body: batchOf(10_000) });
    expect(batch.status).toBe(200);
    const refused = await ask(key);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('60');
    expect(refused.body).toMatchObject({ scope: 'tenant', quota: 'evaluationsPerSecond' });
    expect((await ask(await aKey(await aTenant()))).status).not.toBe(429);
  });
});

describe('connections', () => {
  it('with a request in progress are counted for the credential until it is answered or they end', async () => {
    const key = await aKey(await aTenant(), { connections: 2 });
    await untilAccepted(node, key);
    const slow = [await RawConnection.open(node.server.port), await RawConnection.open(node.server.port)];
    // The body never comes: that keeps the request in progress.
    for (const connection of slow) connection.send(rawPost(key, one, '/v1/evaluate', 1_000));
    await until('both count', async () => (await ask(key)).status === 429);
    const refused = await ask(key);
    expect(refused.body).toMatchObject({ scope: 'credential', quota: 'connections' });
    slow[0]?.reset();
    await until('the ended one counts no longer', async () => (await ask(key)).status === 200);
    slow[1]?.end();
  });

  it('of everybody together are bounded: one too many is closed as it opens, the others go on', async () => {
    const key = await aKey(await aTenant());
    await untilAccepted(node, key);
    const kept = await RawConnection.open(node.server.port);
    const silent = await Promise.all(
      Array.from({ length: CONNECTIONS_MAX + 20 }, () => RawConnection.open(node.server.port)),
    );
    await until('those beyond the bound are closed', () => silent.filter(({ isClosed }) => isClosed).length >= 20);
    kept.send(rawPost(key, one));
    expect((await kept.read())?.status).toBe(200);
    for (const connection of [...silent, kept]) connection.end();
    await until('they are forgotten', async () => (await metricOf(node, 'guidon_connections')) <= 5);
    expect(await metricOf(node, 'guidon_connections_refused_total')).toBeGreaterThanOrEqual(20);
    expect((await ask(key)).status).toBe(200);
  });
});

describe('answers that nobody reads', () => {
  const large = { contexts: Array.from({ length: LARGE_COUNT }, () => context), flags: ['large'] };

  it('are held up to a bound; over it their tenant is refused with 503 and closed, and others get every byte', async () => {
    const greedy = await aKey(await aTenant());
    const modest = await aKey(await aTenant());
    await untilAccepted(node, greedy);
    await untilAccepted(node, modest);
    const stalled: RawConnection[] = [];
    let refused: Answer | undefined;
    await until('the tenant is refused', async () => {
      const connection = await RawConnection.open(node.server.port);
      connection.socket.pause();
      connection.send(rawPost(greedy, large, '/v1/evaluate/batch'));
      stalled.push(connection);
      refused = await ask(greedy);
      return refused.status === 503;
    });
    expect(refused?.body).toMatchObject({ code: 'overloaded' });
    expect(refused?.headers.get('connection')).toBe('close');
    expect(refused?.headers.get('retry-after')).toBe('1');
    expect(await metricOf(node, 'guidon_held_answer_bytes')).toBeLessThan(HELD_MAX + ANSWER_BYTES);
    // It does not fit into a socket either: held too, and taken slowly.
    const reader = await RawConnection.open(node.server.port);
    reader.send(rawPost(modest, large, '/v1/evaluate/batch'));
    reader.socket.pause();
    await new Promise((resolve) => setTimeout(resolve, 200));
    reader.socket.resume();
    const answer = await reader.read();
    expect(answer?.status).toBe(200);
    expect(answer?.body.filter((byte) => byte === 0x78).length).toBeGreaterThanOrEqual(LARGE_COUNT * LARGE_BYTES);
    reader.send(rawPost(modest, one));
    expect((await reader.read())?.status).toBe(200);
    for (const connection of [...stalled, reader]) connection.end();
    await until('nothing is held', async () => (await metricOf(node, 'guidon_held_answer_bytes')) === 0);
    expect((await ask(greedy)).status).toBe(200);
  });

  it('small ones are noticed too: who only sends is cut off', async () => {
    const key = await aKey(await aTenant());
    await untilAccepted(node, key);
    const connection = await RawConnection.open(node.server.port);
    connection.socket.pause();
    const request = rawPost(key, { flags: ['medium'], context });
    let sent = 0;
    while (!connection.socket.destroyed && sent < 20_000) {
      connection.send(request);
      sent += 1;
      // One at a time: a request split over segments would end the connection by itself.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    expect(sent).toBeLessThan(20_000);
  });
});

describe('pool slots', () => {
  it('over the quota of a tenant: 429 to it alone; what runs is answered', async () => {
    const pooling = await startNode(feed, { inlineCostMax: 1 });
    try {
      const environment = await aTenant({ poolSlots: 1 });
      const other = await aTenant();
      const [key, otherKey] = [await environment.issueCredential('srv'), await other.issueCredential('srv')];
      await untilCurrent(pooling, environment);
      await untilCurrent(pooling, other);
      await untilAccepted(pooling, key);
      await untilAccepted(pooling, otherKey);
      const askPooling = (token: string): Promise<Answer> =>
        sendJson(`${pooling.server.url}/v1/evaluate/batch`, { key: token, body: batchOf(5_000) });
      const [mine, theirs] = await Promise.all([
        Promise.all(Array.from({ length: 12 }, () => askPooling(key))),
        Promise.all(Array.from({ length: 12 }, () => askPooling(otherKey))),
      ]);
      const refused = mine.filter(({ status }) => status === 429);
      expect(refused.length).toBeGreaterThan(0);
      expect(mine.length - refused.length).toBe(mine.filter(({ status }) => status === 200).length);
      expect(mine.some(({ status }) => status === 200)).toBe(true);
      expect(refused[0]?.headers.get('retry-after')).toBe('1');
      expect(refused[0]?.body).toMatchObject({ code: 'rate-limited', scope: 'tenant', quota: 'poolSlots' });
      expect(theirs.map(({ status }) => status)).toEqual(Array(12).fill(200));
      expect((await askPooling(key)).status).toBe(200);
    } finally {
      await pooling.stop();
    }
  });
});
