import { CompilePool } from '@guidon/pool';
import type { Signed } from '@guidon/protocol/signed-config';
import { AccessDirectory } from '@guidon/server/auth/access-directory.js';
import { QuotaLedger } from '@guidon/server/quota/quota-ledger.js';
import { EnvironmentSet } from '@guidon/server/snapshot-feed/environment-set.js';
import { HttpConfigSource } from '@guidon/server/snapshot-feed/http-config-source.js';
import { SnapshotFeed } from '@guidon/server/snapshot-feed/snapshot-feed.js';
import { StoreFollower } from '@guidon/server/snapshot-feed/store-follower.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import { SnapshotResidency } from '@guidon/server/snapshot-residency.js';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import type { StoreChange } from '@guidon/server/snapshot-store/store-change.js';
import pino from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';
import { removeTemporaryDirectories, temporaryDirectory, until } from '../../../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../../../support/signed-feed-server.js';

/** A writer and a reader of one store, as two processes of a node have them, here in one process. */
const logger = pino({ level: 'silent' });
let feedServer: SignedFeedServer;
let environment: FeedEnvironment;
let source: HttpConfigSource;
let writer: Side;
let reader: Side;
let feed: SnapshotFeed;
let follower: StoreFollower;
let changes: StoreChange[];
let directory: string;

interface Side {
  readonly store: SnapshotStore;
  readonly pool: CompilePool;
  readonly environments: EnvironmentSet;
  readonly residency: SnapshotResidency;
}

async function side(directory: string, role: 'writer' | 'reader', snapshotBytesMax = Infinity): Promise<Side> {
  const store = await SnapshotStore.open(directory, logger, role);
  const pool = new CompilePool({ threadCount: 1, isWarm: false });
  const kernel = await SnapshotKernel.create(logger);
  const residency = new SnapshotResidency({
    bytesMax: snapshotBytesMax,
    usedBytes: () => kernel.snapshotBytes(),
    load: async (slot) => environments.entryOf(slot)?.load(),
  });
  const parts = {
    store,
    pool,
    kernel,
    residency,
    directory: new AccessDirectory(new QuotaLedger()),
    logger,
    now: Date.now,
  };
  const environments = new EnvironmentSet({ source, parts, trustRoot: feedServer.trustRoot, logger });
  return { store, pool, environments, residency };
}

beforeEach(async () => {
  feedServer = await new SignedFeedServer().start();
  environment = feedServer.addEnvironment('main');
  await environment.publish([aFlag('flag')]);
  await environment.issueCredential('srv');
  source = new HttpConfigSource({ url: feedServer.url, nodeCredential: feedServer.nodeCredential });
  directory = await temporaryDirectory();
  changes = [];
  writer = await side(directory, 'writer');
  writer.store.onChange((change) => changes.push(change));
  feed = new SnapshotFeed({
    nodeId: 'node',
    source,
    bus: undefined,
    environments: writer.environments,
    store: writer.store,
    pollIntervalMs: 50,
    version: '0.1.0',
    streams: { count: () => 0, countOf: () => 0 },
    canary: undefined,
    logger,
  });
  await feed.start();
  await untilAt(writer, 1);
  await until('the access list', () => slotOf(writer)?.accessList !== undefined);
  reader = await side(directory, 'reader');
  follower = new StoreFollower({ environments: reader.environments, store: reader.store, logger });
  await follower.start();
});

afterEach(async () => {
  await follower.close();
  source.close();
  await feed.close();
  await feedServer.stop();
  await Promise.all([writer, reader].flatMap(({ store, pool }) => [store.close(), pool.close()]));
  await removeTemporaryDirectories();
});

const slotOf = ({ environments }: Side, id = environment.ref.environmentId) => environments.find(id)?.slot;
const revisionOf = (of: Side) => slotOf(of)?.active?.revision;
const entryOf = ({ environments }: Side) => environments.find(environment.ref.environmentId);
const markOf = (revision: number) => ({ epoch: 1, revision, digest: environment.digest });
const NOTHING = {
  root: new Uint8Array(8),
  newBlocks: new Map(),
  newDefinitions: new Map(),
  index: [],
  droppedBlockIds: [],
  droppedHashes: [],
  fallback: undefined,
};
const untilAt = (of: Side, revision: number) => until(`revision ${revision}`, () => revisionOf(of) === revision);

describe('StoreFollower', () => {
  it('serves what the store has when it starts, access list included', () => {
    expect(revisionOf(reader)).toBe(1);
    expect(slotOf(reader)?.accessList?.entries).toHaveLength(1);
    expect(follower.hasScanned).toBe(true);
  });

  it('a change that it is told of is in force before the next check', async () => {
    await environment.publish([aFlag('flag', { on: false })]);
    await untilAt(writer, 2);
    expect(revisionOf(reader)).toBe(1);
    const change = changes.at(-1);
    if (change !== undefined) follower.hear(change);
    await slotOf(reader)?.waitForRevision(2);
    expect(revisionOf(reader)).toBe(2);
  });

  it('a change that it is not told of comes with the check, a new environment and a revoked credential too', async () => {
    const other = feedServer.addEnvironment('other');
    await other.publish([aFlag('flag')]);
    const key = await environment.issueCredential('srv');
    await environment.revoke(key);
    await until('the other environment', () => slotOf(reader, other.ref.environmentId)?.active?.revision === 1);
    await until('the access list', () => slotOf(reader)?.accessList?.entries[1]?.revoked === true);
  });

  it('a number that is not the next one makes it look at everything', async () => {
    const other = feedServer.addEnvironment('other');
    await other.publish([aFlag('flag')]);
    await environment.publish([aFlag('flag', { on: false })]);
    await untilAt(writer, 2);
    await until('both', () => slotOf(writer, other.ref.environmentId)?.active !== undefined);
    const last = changes.at(-1);
    if (last !== undefined) follower.hear({ ...last, environmentId: other.ref.environmentId });
    await slotOf(reader)?.waitForRevision(2);
    expect(revisionOf(reader)).toBe(2);
  });

  it('I10: goes back with the writer when a revision is quarantined, and only then', async () => {
    await environment.publish([aFlag('flag', { on: false })]);
    await untilAt(writer, 2);
    await untilAt(reader, 2);
    for (let trap = 0; trap < 3; trap += 1) writer.environments.find(environment.ref.environmentId)?.reportTrap();
    await untilAt(writer, 1);
    await untilAt(reader, 1);
    await environment.publish([aFlag('flag', { on: true })]);
    await untilAt(reader, 3);
  });

  it('I7: does not go back to an older revision that the store shows', async () => {
    const older = writer.store.findState(environment.ref);
    if (older?.root === undefined) throw new Error('nothing is stored');
    await environment.publish([aFlag('flag', { on: false })]);
    await untilAt(writer, 2);
    await untilAt(reader, 2);
    // Whole and rightly signed, and its blocks are still there: nothing but its number speaks against it.
    await writer.store.putRevision(environment.ref, { ...NOTHING, ...older, root: older.root, mark: markOf(1) });
    expect(await entryOf(reader)?.follow()).toBe('failed');
    expect(revisionOf(reader)).toBe(2);
    expect(entryOf(reader)?.reducer.standing.revision).toBe(2);
  });

  it('a process without room leaves it on the disk, follows it there, and loads what the disk has when it is asked', async () => {
    await environment.publish([aFlag('flag', { on: false })]);
    await untilAt(writer, 2);
    const small = await side(directory, 'reader', 0);
    const smallFollower = new StoreFollower({ environments: small.environments, store: small.store, logger });
    try {
      await smallFollower.start();
      const slot = slotOf(small);
      if (slot === undefined) throw new Error('the reader knows the environment');
      expect([slot.serving?.revision, slot.active]).toEqual([2, undefined]);
      await environment.publish([aFlag('flag', { on: true })]);
      await untilAt(writer, 3);
      // Not told of it yet: what it loads is what the disk has, never an older revision (I7).
      expect(await small.residency.whenResident(slot, 0, () => slot.active?.revision)).toBe(3);
      await smallFollower.readOnce();
      await environment.publish([aFlag('flag', { on: false })]);
      await untilAt(small, 4);
    } finally {
      await smallFollower.close();
      await Promise.all([small.store.close(), small.pool.close()]);
    }
  });

  it('an environment that the writer removed is removed, an empty store is not news (I13)', async () => {
    const other = feedServer.addEnvironment('other');
    await other.publish([aFlag('flag')]);
    await until('both', () => slotOf(reader, other.ref.environmentId)?.active?.revision === 1);
    await writer.store.removeEnvironment(other.ref);
    await until('removed', () => slotOf(reader, other.ref.environmentId) === undefined);
    await writer.store.removeEnvironment(environment.ref);
    await new Promise((wake) => setTimeout(wake, 1_200));
    expect(revisionOf(reader)).toBe(1);
  });

  it.each<[string, () => Signed]>([
    ['without a signature', () => ({ ...environment.sign({ revision: 9 }), signature: new Uint8Array(64) })],
    [
      'of another environment',
      () => environment.sign({ revision: 9, environmentId: feedServer.addEnvironment('other').ref.environmentId }),
    ],
    ['with a root that is none', () => environment.sign({ revision: 9 })],
  ])('a row %s is refused, the last good revision serves', async (_name, sign) => {
    await writer.store.putRevision(environment.ref, { ...NOTHING, signed: sign(), mark: markOf(9) });
    expect(await entryOf(reader)?.follow()).toBe('failed');
    expect(revisionOf(reader)).toBe(1);
  });
});
