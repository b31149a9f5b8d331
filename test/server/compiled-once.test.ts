import { afterAll, beforeAll, expect, test } from 'vitest';
import { aChunk, aFlag, aSegment } from '../support/flag-sets.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** A node compiles what changed and nothing else, as far as its compile worker remembers what was there (docs/adr/0037). */
const FLAG_COUNT = 30;
let feed: SignedFeedServer;
let node: RunningNode;
let environment: FeedEnvironment;
const off = (key: string) => aFlag(key, { on: false });

beforeAll(async () => {
  feed = new SignedFeedServer();
  await feed.start();
  environment = feed.addEnvironment('one');
  const flags = Array.from({ length: FLAG_COUNT }, (_, index) => aFlag(`f${index}`));
  await environment.publish([...flags, aSegment('vip'), aChunk('vip', 'included', ['u'])]);
  node = await startNode(feed);
  await untilCurrent(node, environment);
});
afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

const compiledCount = () => metricOf(node, 'guidon_compiled_definitions_total');

async function compiledBy(change: () => Promise<unknown>): Promise<number> {
  const before = await compiledCount();
  await change();
  await untilCurrent(node, environment);
  return (await compiledCount()) - before;
}

test('everything once, then what changed alone', async () => {
  expect(await compiledCount()).toBe(FLAG_COUNT + 2);
  expect(await compiledBy(() => environment.publish([off('f1')]))).toBe(1);
  expect(await compiledBy(() => environment.publish([off('f2'), off('f3'), aFlag('new')]))).toBe(3);
  expect(await compiledBy(() => environment.publish([aSegment('vip', { salt: 'other' })]))).toBe(1);
  expect(await compiledBy(() => environment.publish([], [['flag', 'new']]))).toBe(0);
});

test('nothing after a restart; the first change then compiles all once, since the new worker knows nothing', async () => {
  await node.stop();
  node = await startNode(feed, { directory: node.directory });
  await until('it serves from its disk', () => node.server.revisionOf(environment.ref.environmentId) !== undefined);
  expect(await compiledCount()).toBe(0);
  expect(await compiledBy(() => environment.publish([off('f4')]))).toBe(FLAG_COUNT + 2);
  expect(await compiledBy(() => environment.publish([off('f5')]))).toBe(1);
});
