import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
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
import { trapOn } from '../support/trapping-kernel.js';

/** A revision that makes the real kernel trap, on a real node (I10, I20). */
let feed: SignedFeedServer;
let environment: FeedEnvironment;
let node: RunningNode;
let key = '';
let stopTrapping: () => void = () => undefined;

beforeEach(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('main');
  await environment.publish([aFlag('flag', { fallthrough: { variation: 'no' } })]);
  key = await environment.issueCredential('srv', { permissions: ['explain'] });
  node = await startNode(feed);
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
  // Only on the serving thread: the workers' kernels find nothing.
  stopTrapping = trapOn(({ revision }) => revision === 2);
  await environment.publish([aFlag('flag', { fallthrough: { variation: 'yes' } })]);
  await untilCurrent(node, environment);
});

afterEach(async () => {
  await node.stop();
  stopTrapping();
  await feed.stop().catch(() => undefined);
  await removeTemporaryDirectories();
});

const ask = (body: object, path = '/v1/evaluate') => sendJson(`${node.server.url}${path}`, { key, body });
const failed = { flag: 'flag', reason: 'ERROR', errorCode: 'GENERAL' };

describe('a revision that traps', () => {
  it('answers 200 ERROR in the place of each flag, then gives way, also across restarts', async () => {
    expect(await ask({ flags: 'flag', context: {} })).toMatchObject({ status: 200, body: { revision: 2, ...failed } });
    expect(await ask({ context: {} })).toMatchObject({ status: 500, body: { code: 'internal' } });
    const batch = { contexts: [{}, {}], flags: ['flag'] };
    expect(await ask(batch, '/v1/evaluate/batch')).toMatchObject({
      status: 200,
      body: { revision: 2, results: [failed, failed] },
    });
    await until('the revision before', () => node.server.revisionOf(environment.ref.environmentId) === 1);
    expect(await metricOf(node, 'guidon_kernel_traps_total')).toBe(3);
    expect(await ask({ flags: 'flag', context: {} })).toMatchObject({ status: 200, body: { value: 'no' } });
    await until('quarantined', async () => (await metricOf(node, 'guidon_quarantined_revisions')) === 1);
    const explained = await ask({ flag: 'flag', context: {} }, '/v1/explain');
    expect(explained.body).toMatchObject({ revision: 1, explanation: { result: { value: 'no' } } });

    await node.stop();
    node = await startNode(feed, { directory: node.directory });
    expect(node.server.revisionOf(environment.ref.environmentId)).toBe(1);
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(node.server.revisionOf(environment.ref.environmentId)).toBe(1);
    expect(await ask({ flags: 'flag', context: {} })).toMatchObject({ status: 200, body: { value: 'no' } });

    await environment.publish([aFlag('flag', { salt: 'mended' })]);
    await untilCurrent(node, environment);
    expect(await ask({ flags: 'flag', context: {} })).toMatchObject({ status: 200, body: { revision: 3 } });
  });
});
