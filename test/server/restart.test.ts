import { open, readdir, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeConfigMessage } from '@guidon/protocol/msgpack';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** A node that starts again with what its disk has, damaged or not, and nobody else there (I7, I12, M5, G4, G7). */
let feed: SignedFeedServer;
let environment: FeedEnvironment;
let key = '';
let nodes: RunningNode[] = [];

beforeEach(async () => {
  feed = await new SignedFeedServer().start();
  environment = feed.addEnvironment('main');
  await environment.publish([
    ...Array.from({ length: 200 }, (_, index) => aFlag(`flag-${index}`, { salt: `salt-${index}` })),
    aFlag('in-segment', {
      rules: [{ id: 'members', when: { segment: ['vip'] }, serve: { variation: 'yes' } }],
    }),
    aSegment('vip'),
    aChunk('vip', 'included', ['user-1']),
  ]);
  key = await environment.issueCredential('srv', { permissions: ['explain'] });
});

afterEach(async () => {
  await Promise.all(nodes.splice(0).map((node) => node.stop()));
  await feed.stop().catch(() => undefined);
  await removeTemporaryDirectories();
});

async function start(options: Parameters<typeof startNode>[1] = {}): Promise<RunningNode> {
  const node = await startNode(feed, options);
  nodes.push(node);
  return node;
}

async function stop(node: RunningNode): Promise<void> {
  nodes = nodes.filter((other) => other !== node);
  await node.stop();
}

async function startAndFill(options: Parameters<typeof startNode>[1] = {}): Promise<RunningNode> {
  const node = await start(options);
  await untilCurrent(node, environment);
  await untilAccepted(node, key);
  return node;
}

async function allAnswers(node: RunningNode): Promise<unknown> {
  const answers = await Promise.all(
    ['user-1', 'user-2'].map((targetingKey) =>
      sendJson(`${node.server.url}/v1/evaluate`, { key, body: { context: { targetingKey } } }),
    ),
  );
  return answers.map(({ status, body }) => ({ status, body }));
}

const readyStatus = async (node: RunningNode) => (await fetch(`${node.server.metricsUrl}/readyz`)).status;

describe('a restart', () => {
  it('with the control plane down: ready at once, answers identical, explain too', async () => {
    const first = await startAndFill();
    const before = await allAnswers(first);
    await stop(first);
    await feed.stop();
    const second = await start({ directory: first.directory });
    expect(await readyStatus(second)).toBe(200);
    expect(await allAnswers(second)).toEqual(before);
    const explained = await sendJson(`${second.server.url}/v1/explain`, {
      key,
      body: { flag: 'in-segment', context: { targetingKey: 'user-1' } },
    });
    expect(explained.body).toMatchObject({ explanation: { result: { value: 'yes', ruleId: 'members' } } });
  });

  it('continues with a delta where it was', async () => {
    const first = await startAndFill();
    await stop(first);
    await environment.publish([aFlag('flag-0', { on: false })]);
    feed.requests.length = 0;
    const second = await start({ directory: first.directory });
    await untilCurrent(second, environment);
    const { body } = await sendJson(`${second.server.url}/v1/evaluate`, {
      key,
      body: { flags: ['flag-0', 'flag-1'], context: {} },
    });
    expect(body).toMatchObject({ revision: 2, results: [{ reason: 'DISABLED' }, { reason: 'STATIC' }] });
  });

  it('refuses the rollback of a control plane that replays an older signed revision (I7)', async () => {
    const replay = encodeConfigMessage(environment.message(0));
    const first = await startAndFill();
    await environment.publish([aFlag('flag-0', { on: false })]);
    await untilCurrent(first, environment);
    const before = await allAnswers(first);
    await stop(first);
    environment.configOverride = () => replay;
    feed.digests.set({ ...environment.ref, epoch: 1, revision: 99, accessSequence: 1 });
    const second = await start({ directory: first.directory });
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(second.server.revisionOf(environment.ref.environmentId)).toBe(2);
    expect(await allAnswers(second)).toEqual(before);
  });

  it('a revoked credential stays refused with the control plane down', async () => {
    const first = await startAndFill();
    await environment.revoke(key);
    await until(
      '401',
      async () => (await sendJson(`${first.server.url}/v1/evaluate`, { key, body: { context: {} } })).status === 401,
    );
    await stop(first);
    await feed.stop();
    const second = await start({ directory: first.directory });
    expect((await sendJson(`${second.server.url}/v1/evaluate`, { key, body: { context: {} } })).status).toBe(401);
  });

  it('an expired manifest that was active goes on serving (I12)', async () => {
    environment.validForMs = 700;
    await environment.publish([aFlag('flag-0', { on: false })]);
    const first = await startAndFill();
    const before = await allAnswers(first);
    await stop(first);
    await feed.stop();
    await new Promise((resolve) => setTimeout(resolve, 800));
    const second = await start({ directory: first.directory });
    expect(await allAnswers(second)).toEqual(before);
  });

  it('shows the age of config that nobody confirms any more', async () => {
    const first = await startAndFill();
    await stop(first);
    await feed.stop();
    const second = await start({ directory: first.directory, staleAfterMs: 500 });
    await until('X-Config-Age', async () => {
      const { headers, status } = await sendJson(`${second.server.url}/v1/evaluate`, { key, body: { context: {} } });
      expect(status).toBe(200);
      return Number(headers.get('x-config-age') ?? -1) >= 0 && headers.has('x-config-age');
    });
  });

  it('another pinned trust root: nothing of the disk is trusted', async () => {
    const first = await startAndFill();
    await stop(first);
    const other = await new SignedFeedServer().start();
    const second = await start({ directory: first.directory, trustRoot: other.trustRoot });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(second.server.revisionOf(environment.ref.environmentId)).toBeUndefined();
    expect(await readyStatus(second)).toBe(503);
    await other.stop();
  });

  it('without a pin the first root is kept across restarts, and another one refused', async () => {
    const first = await startAndFill({ isPinned: false });
    const before = await allAnswers(first);
    await stop(first);
    await feed.stop();
    const impostor = await new SignedFeedServer().start();
    const theirs = impostor.addEnvironment('main');
    for (let revision = 1; revision <= 3; revision += 1) await theirs.publish([aFlag('canary')]);
    const second = await startNode(impostor, { directory: first.directory, isPinned: false });
    nodes.push(second);
    await until('it was asked for', () => impostor.requests.filter((path) => path.endsWith('/key-set')).length > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await allAnswers(second)).toEqual(before);
    await stop(second);
    await impostor.stop();
  });
});

describe('a first start with the control plane down', () => {
  it('is not ready and says so, until it has heard (I13)', async () => {
    await feed.stop();
    const node = await start();
    expect(await readyStatus(node)).toBe(503);
    expect((await fetch(`${node.server.metricsUrl}/livez`)).status).toBe(200);
    expect((await sendJson(`${node.server.url}/v1/evaluate`, { key, body: { context: {} } })).status).toBe(503);
    await feed.start();
    await untilCurrent(node, environment);
    await until('ready', async () => (await readyStatus(node)) === 200);
  });
});

describe('a damaged store (M5)', () => {
  const dataFile = (node: RunningNode) => join(node.directory, 'snapshots', 'data.mdb');

  it.each<[string, (file: string) => Promise<unknown>]>([
    ['empty', (file) => truncate(file, 0)],
    ['cut', async (file) => truncate(file, (await stat(file)).size - 4_096)],
    ['garbage', (file) => writeFile(file, Buffer.alloc(65_536, 0x5a))],
    ['without meta pages', (file) => overwrite(file, 0, Buffer.alloc(8_192))],
  ])('%s: set aside and rebuilt from the control plane', async (_name, damage) => {
    const first = await startAndFill();
    const before = await allAnswers(first);
    await stop(first);
    await damage(dataFile(first));
    const second = await start({ directory: first.directory });
    await untilCurrent(second, environment);
    await untilAccepted(second, key);
    expect(await allAnswers(second)).toEqual(before);
    expect((await readdir(first.directory)).some((name) => name.startsWith('snapshots.damaged-'))).toBe(true);
  });

  it('flipped bytes anywhere: never a wrong answer, and rebuilt (G7)', async () => {
    const first = await startAndFill();
    const before = await allAnswers(first);
    await stop(first);
    const fileBytes = (await stat(dataFile(first))).size;
    for (let round = 0; round < 6; round += 1) {
      for (let flip = 0; flip < 40; flip += 1) {
        await overwrite(
          dataFile(first),
          8_192 + ((round * 7_919 + flip * 104_729) % (fileBytes - 8_193)),
          Uint8Array.of(0xa5),
        );
      }
      const node = await start({ directory: first.directory });
      const atOnce = await allAnswers(node);
      for (const [index, answer] of Array.isArray(atOnce) ? atOnce.entries() : []) {
        const isServed = typeof answer === 'object' && answer !== null && 'status' in answer && answer.status === 200;
        if (isServed) expect(answer).toEqual(Array.isArray(before) ? before[index] : undefined);
      }
      await untilCurrent(node, environment);
      await untilAccepted(node, key);
      expect(await allAnswers(node)).toEqual(before);
      await stop(node);
    }
  });
});

async function overwrite(file: string, offset: number, bytes: Uint8Array): Promise<void> {
  const handle = await open(file, 'r+');
  await handle.write(bytes, 0, bytes.length, offset);
  await handle.close();
}
