import { afterAll, beforeAll, expect, test } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { RunningGroup } from '../support/running-group.js';
import { removeTemporaryDirectories, until } from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';
import { StreamClient } from '../support/stream-client.js';

/** Streams of a node that has several processes live in each of them, and follow whoever leads (ADR 16). */
let feed: SignedFeedServer;
let environment: FeedEnvironment;
let group: RunningGroup;
let key = '';

beforeAll(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('streams');
  await environment.publish([aFlag('flag')]);
  key = await environment.issueCredential('srv');
  group = await RunningGroup.start(feed, { processCount: 2 });
  await until('the node is ready', async () => (await group.readyStatus()) === 200);
});
afterAll(async () => {
  await group.group.close();
  await feed.stop();
  await removeTemporaryDirectories();
});

test('every stream follows, in whatever process it is; a revoked key closes it in each within a second', async () => {
  const clients: StreamClient[] = [];
  const url = group.group.url;
  // Connections are spread by a hash of their addresses: enough of them are on both.
  for (let count = 0; count < 24; count += 1) clients.push(new StreamClient(url, { key }));
  for (const client of clients) await client.untilAt(1);
  const perProcess = async () => (await group.metrics()).perProcess('guidon_process_listening');
  expect((await perProcess()).length).toBe(2);
  for (let count = 0; count < 5; count += 1) {
    await environment.publish([aFlag('flag', { fallthrough: { variation: count % 2 === 0 ? 'yes' : 'no' } })]);
    for (const client of clients) await client.untilAt(environment.revision);
  }
  for (const { failure, frames } of clients) {
    expect(failure).toBeUndefined();
    expect(frames.slice(1).every(({ type }) => type === 'patch')).toBe(true);
  }
  await environment.revoke(key);
  for (const client of clients) expect((await client.untilClosed()).code).toBe(4401);
});
