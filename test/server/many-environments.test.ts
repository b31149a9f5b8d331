import { compileSnapshot, definitionKey, encodeDefinition } from '@guidon/engine';
import { hashDefinition } from '@guidon/protocol/signed-config';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import pino from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../support/flag-sets.js';
import { sendJson } from '../support/http.js';
import { scrapeCost } from '../support/loop-probe.js';
import { metricOf, removeTemporaryDirectories, startNode, temporaryDirectory } from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

/** A node that has served many environments starts again (I12): ready without loading them, each answers when it is asked. */
const ENVIRONMENT_COUNT = process.env.GUIDON_DEEP === '1' ? 10_000 : 120;
const FLAG_COUNT = 20;

const hashOf = (bytes: Uint8Array): string => Buffer.from(hashDefinition(bytes)).toString('hex');

afterAll(removeTemporaryDirectories);

async function store(store: SnapshotStore, environment: FeedEnvironment, name: string): Promise<void> {
  const flags = Array.from({ length: FLAG_COUNT }, (_, index) => aFlag(`flag-${index}`, { salt: `${name}-${index}` }));
  await environment.publish(flags);
  const { compiled } = compileSnapshot(flagSetOf(flags), { environment: environment.ref, revision: 1 });
  if (compiled === undefined) throw new Error('the flags compile');
  const definitions = flags.map((flag) => [flag.kind, definitionKey(flag), encodeDefinition(flag)] as const);
  await store.putRevision(environment.ref, {
    mark: { epoch: 1, revision: 1, digest: environment.digest },
    signed: environment.signed(),
    root: compiled.snapshot.root,
    newBlocks: compiled.snapshot.blocks,
    newDefinitions: new Map(definitions.map(([, , bytes]) => [hashOf(bytes), bytes])),
    index: definitions.map(([kind, key, bytes]) => [kind, key, hashOf(bytes)]),
    droppedBlockIds: [],
    droppedHashes: [],
    fallback: undefined,
  });
}

describe('a node with many environments', () => {
  it(`starts with ${ENVIRONMENT_COUNT} of ${FLAG_COUNT} flags and loads those that are asked for`, {
    timeout: 900_000,
  }, async () => {
    const feed = new SignedFeedServer();
    const logger = pino({ level: 'silent' });
    const directory = await temporaryDirectory();
    const snapshots = await SnapshotStore.open(directory, logger);
    await snapshots.putTrust(feed.root.publicKey, feed.keySet());
    const keys: string[] = [];
    for (let index = 0; index < ENVIRONMENT_COUNT; index += 1) {
      const environment = feed.addEnvironment(`e${index}`);
      const stored = store(snapshots, environment, `e${index}`);
      keys.push(await environment.issueCredential('srv'));
      await stored;
      await snapshots.putAccess(environment.ref, environment.signedAccess(), { epoch: 1, revision: 1, digest: '' });
    }
    await snapshots.close();
    const startedMs = performance.now();
    const node = await startNode(feed, { directory, controlPlaneUrl: 'http://127.0.0.1:9', pollIntervalMs: 60_000 });
    const isReady = (await fetch(`${node.server.metricsUrl}/readyz`)).status === 200;
    const readyMs = performance.now() - startedMs;
    try {
      expect(isReady).toBe(true);
      // Four are brought in at a time.
      expect(await metricOf(node, 'guidon_resident_environments')).toBeLessThanOrEqual(103);
      const waits: number[] = [];
      for (let index = 0; index < keys.length; index += Math.ceil(keys.length / 300)) {
        const askedMs = performance.now();
        const answer = await sendJson(`${node.server.url}/v1/evaluate`, {
          key: keys[index] ?? '',
          body: { flags: 'flag-3', context: {} },
        });
        waits.push(performance.now() - askedMs);
        expect(answer).toMatchObject({ status: 200, body: { revision: 1, value: 'no' } });
      }
      expect(await metricOf(node, 'guidon_snapshot_reloads_total')).toBeGreaterThanOrEqual(
        ENVIRONMENT_COUNT > 1_000 ? 200 : 15,
      );
      // Labels are bounded: 10 000 environments make it no larger than 200 do.
      const { bytesMax, sentence } = await scrapeCost(`${node.server.metricsUrl}/metrics`, 9);
      expect(bytesMax).toBeLessThan(2 * 1024 * 1024);
      console.log(sentence);
      const median = waits.toSorted((a, b) => a - b)[waits.length >> 1] ?? 0;
      console.log(
        `${ENVIRONMENT_COUNT} environments: ready in ${Math.round(readyMs)} ms, a cold one in ${median.toFixed(1)} ms`,
      );
    } finally {
      await node.stop();
    }
  });
});
