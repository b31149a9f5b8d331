import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import type { Definition } from '@guidon/engine';
import { InProcessChangeBus } from '@guidon/protocol';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { aFlag, aSegment } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
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
import { StreamClient } from '../support/stream-client.js';

/**
 * A client key's stream is evaluated in part where it is known what a change can touch. Whatever changes, it has after each revision exactly what
 * evaluating everything answers.
 */
const FLAG_COUNT = 8;
const CHANGE_COUNT = process.env.GUIDON_DEEP === '1' ? 1_000 : 80;
const seed = randomBytes(4).readUInt32BE();

let feed: SignedFeedServer;
let node: RunningNode;
let environment: FeedEnvironment;
let key = '';

beforeAll(async () => {
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  node = await startNode(feed);
  environment = feed.addEnvironment('values');
  await environment.publish([
    aSegment('s0'),
    aSegment('s1'),
    ...Array.from({ length: FLAG_COUNT }, (_, index) => flag(index)),
  ]);
  key = await environment.issueCredential('web');
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
});
afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

let state = seed;
function below(count: number): number {
  state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
  return Math.floor((state / 2 ** 32) * count);
}
const isLikely = (share: number): boolean => below(1_000) < share * 1_000;
const PLANS = ['free', 'pro', 'team'];
const plan = (): string => PLANS[below(PLANS.length)] ?? '';

/** Asks flags behind it and segments: no cycles. */
function flag(index: number): Definition {
  const prerequisites =
    index + 1 < FLAG_COUNT && isLikely(0.5)
      ? [{ flag: `f${index + 1 + below(FLAG_COUNT - index - 1)}`, variations: ['yes'] }]
      : [];
  const when = isLikely(0.5)
    ? { segment: [`s${below(2)}`], negate: false }
    : { attribute: 'plan', op: 'in' as const, values: [plan()], negate: false };
  return aFlag(`f${index}`, {
    clientSide: isLikely(0.8),
    on: isLikely(0.8),
    prerequisites,
    rules: [{ id: 'r', when, serve: { variation: isLikely(0.5) ? 'yes' : 'no' } }],
    fallthrough: { variation: isLikely(0.5) ? 'yes' : 'no' },
  });
}

function segment(index: number): Definition {
  const when =
    index === 0
      ? { segment: ['s1'], negate: false }
      : { attribute: 'plan', op: 'in' as const, values: [plan()], negate: false };
  return aSegment(`s${index}`, { rules: [{ when }] });
}

async function publishSomething(): Promise<void> {
  const kind = below(10);
  if (kind < 2) await environment.publish([segment(below(2))]);
  else if (kind === 2) await environment.publish([], [['flag', 'extra']]).catch(() => undefined);
  else if (kind === 3) await environment.publish([aFlag('extra', { clientSide: isLikely(0.5) })]);
  else await environment.publish(Array.from({ length: 1 + below(2) }, () => flag(below(FLAG_COUNT))));
}

const valuesOf = (results: unknown): Map<string, unknown> =>
  new Map((Array.isArray(results) ? results : []).map(({ flag: name, ...rest }) => [String(name), rest]));

test(`${CHANGE_COUNT} changes (seed ${seed}): the stream has what an evaluation of everything answers`, async () => {
  const context = { targetingKey: 'u1', plan: 'pro' };
  const stream = new StreamClient(node.server.url, { key, hello: { context } });
  const results = new Map<string, unknown>();
  stream.socket.on('message', () => {
    const message = stream.messages.at(-1);
    if ((message?.type !== 'put' && message?.type !== 'patch') || !('values' in message)) return;
    if (message.type === 'put') results.clear();
    for (const name of message.values.removed) results.delete(name);
    for (const [name, rest] of valuesOf(message.values.results)) results.set(name, rest);
  });
  for (let count = 0; count < CHANGE_COUNT; count += 1) {
    await publishSomething();
    await untilCurrent(node, environment);
    const { body } = await sendJson(`${node.server.url}/v1/evaluate`, { key, body: { context } });
    const wanted = valuesOf(body.results);
    await until(`the values of revision ${environment.revision}`, () => isDeepStrictEqual(results, wanted));
  }
  expect(stream.failure).toBeUndefined();
  expect(stream.closed).toBeUndefined();
  // Most changes are evaluated in part, and many change nothing for this context.
  expect(stream.frames.length).toBeLessThan(CHANGE_COUNT);
  stream.close();
}, 120_000);

describe('streams whose contexts are dear', () => {
  /** Looks for each of 200 texts in `s`. */
  const searching = (serve: string): Definition =>
    aFlag('slow', {
      clientSide: true,
      rules: [
        {
          id: 'r',
          when: {
            attribute: 's',
            op: 'contains',
            values: Array.from({ length: 200 }, (_, index) => `${'a'.repeat(20)}b${index}`),
            negate: false,
          },
          serve: { variation: 'no' },
        },
      ],
      fallthrough: { variation: serve },
    });
  const dearContext = (index: number) => ({ targetingKey: `u${index}`, s: 'a'.repeat(3_000) });
  let pooled: RunningNode;
  let dear: FeedEnvironment;
  let web = '';
  let srv = '';
  const clients: StreamClient[] = [];

  beforeAll(async () => {
    pooled = await startNode(feed, { inlineCostMax: 20_000, evaluationThreadCount: 1 });
    dear = feed.addEnvironment('dear');
    await dear.publish([searching('yes')]);
    web = await dear.issueCredential('web');
    srv = await dear.issueCredential('srv');
    await untilCurrent(pooled, dear);
    await untilAccepted(pooled, srv);
    await untilAccepted(pooled, web);
  });
  afterAll(() => pooled.stop());
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
  });

  const open = (context: object): StreamClient => {
    const client = new StreamClient(pooled.server.url, { key: web, hello: { context } });
    clients.push(client);
    return client;
  };

  test('do not hold up the others of their environment while the worker is busy', async () => {
    const first = open(dearContext(0));
    const cheap = open({ targetingKey: 'cheap' });
    for (const client of [first, cheap]) await client.untilAt(dear.revision);
    // Seconds of work, on a quiet machine.
    const contexts = Array.from({ length: 40 }, () => ({ s: 'a'.repeat(31_000) }));
    const body = { contexts, flags: ['slow'] };
    const busy = Array.from({ length: 4 }, () =>
      sendJson(`${pooled.server.url}/v1/evaluate/batch`, { key: srv, body }),
    );
    await until('the worker is busy', async () => (await metricOf(pooled, 'guidon_evaluation_queue')) >= 2);
    const before = dear.revision;
    await dear.publish([searching('no')]);
    await cheap.untilAt(dear.revision);
    expect([first.at?.revision, cheap.values.get('slow')]).toEqual([before, 'no']);
    await Promise.all(busy);
    await first.untilAt(dear.revision);
    expect(first.values.get('slow')).toBe('no');
  }, 60_000);

  test('all have their turn, more of them than are evaluated at once', async () => {
    const many = Array.from({ length: 20 }, (_, index) => open(dearContext(index)));
    for (const client of many) await client.untilAt(dear.revision);
    await dear.publish([searching('yes')]);
    for (const client of many) await client.untilAt(dear.revision);
    for (const client of many) expect([client.failure, client.closed]).toEqual([undefined, undefined]);
  }, 60_000);
});
