import { InProcessChangeBus } from '@guidon/protocol';
import { decode, encode } from '@msgpack/msgpack';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { sendJson, sendMsgpack } from '../support/http.js';
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
import { trapOn } from '../support/trapping-kernel.js';

let feed: SignedFeedServer;
let environment: FeedEnvironment;
let key = '';
/** One evaluates all it can itself, one nothing. */
let inline: RunningNode;
let pooled: RunningNode;

const searching = (name: string, count: number) =>
  aFlag(name, {
    rules: [
      {
        id: 'r',
        when: {
          attribute: 's',
          op: 'contains',
          values: Array.from({ length: count }, (_, index) => `${'a'.repeat(20)}b${index}`),
        },
        serve: { variation: 'off' },
      },
    ],
  });
const FLAGS = [
  aFlag('plain'),
  aFlag('split', {
    fallthrough: {
      rollout: {
        weights: [
          { variation: 'yes', weight: 50_000 },
          { variation: 'no', weight: 50_000 },
        ],
      },
    },
  }),
  aFlag('ruled', {
    clientSide: true,
    rules: [{ id: 'r', when: { attribute: 'country', op: 'in', values: ['NL'] }, serve: { variation: 'yes' } }],
  }),
  searching('slowest', 200),
];
/** About 150 ms on a quiet machine. */
const slowest = {
  contexts: Array.from({ length: 6 }, () => ({ s: 'a'.repeat(31_000) })),
  flags: ['slowest'],
};

beforeAll(async () => {
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  environment = feed.addEnvironment('main');
  await environment.publish(FLAGS);
  key = await environment.issueCredential('srv');
  inline = await startNode(feed, { inlineCostMax: 0 });
  pooled = await startNode(feed, { inlineCostMax: 1, evaluationThreadCount: 1 });
  for (const node of [inline, pooled]) {
    await untilCurrent(node, environment);
    await untilAccepted(node, key);
  }
});

afterEach(async () => {
  await until('the pool is idle', async () => (await metricOf(pooled, 'guidon_evaluation_running')) === 0);
});

afterAll(async () => {
  await inline?.stop();
  await pooled?.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

interface Asked {
  readonly path: string;
  readonly body: object;
  readonly mediaType: 'application/json' | 'application/msgpack';
}

async function ask(node: RunningNode, { path, body, mediaType }: Asked, signal?: AbortSignal) {
  const answer = await fetch(`${node.server.url}${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': mediaType },
    body: mediaType === 'application/json' ? JSON.stringify(body) : Uint8Array.from(encode(body)),
    ...(signal === undefined ? {} : { signal }),
  });
  const bytes = Buffer.from(await answer.arrayBuffer());
  return { status: answer.status, revision: answer.headers.get('x-guidon-revision'), headers: answer.headers, bytes };
}

const batch = (body: object): Asked => ({ path: '/v1/evaluate/batch', body, mediaType: 'application/msgpack' });

const name = fc.constantFrom('plain', 'split', 'ruled', 'nowhere');
const context = fc.record(
  { targetingKey: fc.string(), country: fc.constantFrom('NL', 'BE', 5, ['NL']), s: fc.string({ maxLength: 200 }) },
  { requiredKeys: [] },
);
const asked: fc.Arbitrary<Asked> = fc
  .record({
    request: fc.oneof(
      fc.record({ flags: fc.oneof(name, fc.array(name)), context }).map((body) => ({ path: '/v1/evaluate', body })),
      fc.record({ context: fc.oneof(context, fc.constant(5)) }).map((body) => ({ path: '/v1/evaluate', body })),
      fc
        .oneof(
          fc.record({ contexts: fc.array(context), flags: fc.array(name) }),
          fc.record({ requests: fc.array(fc.record({ flag: name, context })) }),
          fc.record({ requests: fc.constant(5) }),
        )
        .map((body) => ({ path: '/v1/evaluate/batch', body })),
    ),
    mediaType: fc.constantFrom('application/json' as const, 'application/msgpack' as const),
  })
  .map(({ request, mediaType }) => ({ ...request, mediaType }));

describe('requests that go to the pool', () => {
  it('are answered as the serving thread answers them, byte by byte (I19)', async () => {
    await fc.assert(
      fc.asyncProperty(asked, async (request) => {
        const [here, there] = await Promise.all([ask(inline, request), ask(pooled, request)]);
        expect([there.status, there.revision]).toEqual([here.status, here.revision]);
        if (here.status === 200) expect(there.bytes.toString('latin1')).toBe(here.bytes.toString('latin1'));
      }),
      { numRuns: 150 },
    );
    expect(await metricOf(pooled, 'guidon_evaluate_requests_total{where="pool"}')).toBeGreaterThan(100);
    expect(await metricOf(inline, 'guidon_evaluate_requests_total{where="pool"}')).toBe(0);
  });

  it('are chosen by what they cost, on every route', async () => {
    const node = await startNode(feed);
    try {
      await untilCurrent(node, environment);
      await untilAccepted(node, key);
      const inPool = () => metricOf(node, 'guidon_evaluate_requests_total{where="pool"}');
      const contexts = Array.from({ length: 100 }, (_, index) => ({ targetingKey: `u${index}` }));
      await ask(node, batch({ contexts, flags: ['plain', 'split', 'ruled'] }));
      await ask(node, {
        path: '/v1/evaluate',
        body: { flags: 'slowest', context: { s: 'a' } },
        mediaType: 'application/json',
      });
      await ask(node, { path: '/v1/evaluate', body: { context: { country: 'NL' } }, mediaType: 'application/msgpack' });
      expect(await inPool()).toBe(0);
      const text = { s: 'a'.repeat(20_000) };
      expect((await ask(node, batch({ contexts: [text], flags: ['slowest'] }))).status).toBe(200);
      expect((await ask(node, batch({ requests: [{ flag: 'slowest', context: text }] }))).status).toBe(200);
      for (const body of [
        { flags: 'slowest', context: text },
        { flags: ['slowest'], context: text },
        { context: text },
      ]) {
        expect((await ask(node, { path: '/v1/evaluate', body, mediaType: 'application/json' })).status).toBe(200);
      }
      expect(await inPool()).toBe(5);
      // 20 bytes each: reading them is work already.
      const many = Array.from({ length: 9_999 }, (_, index) => ({ flag: 'nowhere', context: { index } }));
      expect((await ask(node, batch({ requests: many }))).status).toBe(200);
      expect(await inPool()).toBe(6);
    } finally {
      await node.stop();
    }
  });

  it('are evaluated on what serves when their turn comes, and say so in body and headers', async () => {
    const running = ask(pooled, batch(slowest));
    await until('it runs', async () => (await metricOf(pooled, 'guidon_evaluation_running')) === 1);
    const waiting = ask(pooled, {
      path: '/v1/evaluate',
      body: { flags: 'plain', context: {} },
      mediaType: 'application/msgpack',
    });
    await until('it waits', async () => (await metricOf(pooled, 'guidon_evaluation_queue')) === 1);
    await environment.publish(FLAGS.slice(1));
    await untilCurrent(pooled, environment);
    const [first, second] = await Promise.all([running, waiting]);
    expect(first.status).toBe(200);
    const answer = decode(second.bytes);
    expect(String(Object(answer).revision)).toBe(second.revision);
    await environment.publish(FLAGS);
    await untilCurrent(inline, environment);
    await untilCurrent(pooled, environment);
  });

  it('wait for a revision, and get 409 when it does not come', async () => {
    const minRevision = environment.revision + 1;
    const waiting = ask(pooled, {
      path: '/v1/evaluate',
      body: { flags: 'plain', context: {}, minRevision },
      mediaType: 'application/json',
    });
    await environment.publish(FLAGS);
    const { status, revision } = await waiting;
    expect([status, revision]).toEqual([200, String(minRevision)]);
    const late = await sendJson(`${pooled.server.url}/v1/evaluate`, {
      key,
      body: { flags: 'plain', context: {}, minRevision: 999 },
    });
    expect(late).toMatchObject({ status: 409, body: { code: 'revision-behind', currentRevision: minRevision } });
    await untilCurrent(inline, environment);
  });

  it('are refused when too many of one tenant wait: 503 with Retry-After (I25)', async () => {
    // The worker is busy with these for longer than the large ones take to arrive.
    const running = Promise.all(Array.from({ length: 4 }, () => ask(pooled, batch(slowest))));
    await until('one runs', async () => (await metricOf(pooled, 'guidon_evaluation_running')) === 1);
    // Five bodies of 4 MiB are more than one tenant may have waiting.
    const contexts = Array.from({ length: 139 }, () => ({ other: 'x'.repeat(30_000) }));
    const large = await Promise.all(
      Array.from({ length: 5 }, () => ask(pooled, batch({ contexts, flags: ['plain'] }))),
    );
    expect((await running).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const refused = large.filter(({ status }) => status !== 200);
    expect(refused.map(({ status }) => status)).toContain(503);
    expect(refused.length).toBeLessThan(5);
    for (const { headers } of refused) expect(Number(headers.get('retry-after'))).toBeLessThanOrEqual(2);
    expect(await metricOf(pooled, 'guidon_evaluation_refused_total')).toBe(refused.length);
  });

  it('leave the queue when their client goes away', async () => {
    const controller = new AbortController();
    const gone = Array.from({ length: 4 }, () => ask(pooled, batch(slowest), controller.signal).catch(() => 'gone'));
    await until('they wait', async () => (await metricOf(pooled, 'guidon_evaluation_queue')) === 3);
    controller.abort();
    expect(await Promise.all(gone)).toEqual(['gone', 'gone', 'gone', 'gone']);
    await until('nothing waits', async () => (await metricOf(pooled, 'guidon_evaluation_queue')) === 0);
    const { status } = await ask(pooled, {
      path: '/v1/evaluate',
      body: { flags: 'plain', context: {} },
      mediaType: 'application/json',
    });
    expect(status).toBe(200);
  });

  it('finish while the node closes', async () => {
    const node = await startNode(feed, { inlineCostMax: 1, evaluationThreadCount: 1 });
    await untilCurrent(node, environment);
    await untilAccepted(node, key);
    const running = ask(node, batch(slowest));
    await until('it runs', async () => (await metricOf(node, 'guidon_evaluation_running')) === 1);
    await node.stop();
    expect((await running).status).toBe(200);
  });
});

describe('a revision that traps in a worker', () => {
  it('answers ERROR, is given up after the third time, and the node goes on (I10, I20)', async () => {
    const other = feed.addEnvironment('other');
    await other.publish([aFlag('flag', { fallthrough: { variation: 'no' } })]);
    const otherKey = await other.issueCredential('srv');
    const { url } = pooled.server;
    await untilCurrent(pooled, other);
    await untilAccepted(pooled, otherKey);
    const stopTrapping = trapOn(
      ({ environment: { environmentId }, revision }) => environmentId === other.ref.environmentId && revision === 2,
    );
    try {
      await other.publish([aFlag('flag', { fallthrough: { variation: 'yes' } })]);
      await untilCurrent(pooled, other);
      const body = { flags: 'flag', context: {} };
      const before = await metricOf(pooled, 'guidon_evaluation_workers_discarded_total');
      const failed = { status: 200, body: { revision: 2, flag: 'flag', reason: 'ERROR', errorCode: 'GENERAL' } };
      expect(await sendJson(`${url}/v1/evaluate`, { key: otherKey, body })).toMatchObject(failed);
      expect(await sendMsgpack(`${url}/v1/evaluate`, { key: otherKey, body })).toMatchObject(failed);
      // Another environment is served by the worker that replaces the one that died.
      expect((await ask(pooled, batch({ contexts: [{}], flags: ['plain'] }))).status).toBe(200);
      expect(await sendMsgpack(`${url}/v1/evaluate`, { key: otherKey, body })).toMatchObject(failed);
      await until('the revision before', () => pooled.server.revisionOf(other.ref.environmentId) === 1);
      expect(await sendMsgpack(`${url}/v1/evaluate`, { key: otherKey, body })).toMatchObject({ body: { value: 'no' } });
      expect(await metricOf(pooled, 'guidon_evaluation_workers_discarded_total')).toBe(before + 3);
    } finally {
      stopTrapping();
    }
  });
});
