import { CompilePool } from '@guidon/pool';
import type { EnvironmentState } from '@guidon/protocol/signed-config';
import { TrustedKeys } from '@guidon/protocol/signed-config';
import { AccessDirectory } from '@guidon/server/auth/access-directory.js';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { QuotaLedger } from '@guidon/server/quota/quota-ledger.js';
import type { ConfigSource } from '@guidon/server/snapshot-feed/config-source.js';
import { EnvironmentEntry } from '@guidon/server/snapshot-feed/environment-entry.js';
import { EnvironmentReducer } from '@guidon/server/snapshot-feed/environment-reducer.js';
import { Semaphore } from '@guidon/server/snapshot-feed/serial-queue.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import { SnapshotResidency } from '@guidon/server/snapshot-residency.js';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import pino from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../../../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../../../support/signed-feed-server.js';

/** What a poll finds while messages of the bus wait for their turn. */
const logger = pino({ level: 'silent' });
const feed = new SignedFeedServer();
const fetched: string[] = [];
const source: Pick<ConfigSource, 'fetchConfig' | 'fetchAccess'> = {
  fetchConfig: (_environment, since) => {
    fetched.push(`config since ${since}`);
    return Promise.resolve(environment.message(since));
  },
  fetchAccess: () => {
    fetched.push('access');
    return Promise.resolve(environment.signedAccess());
  },
};
let pool: CompilePool;
let kernel: SnapshotKernel;
let store: SnapshotStore;
let environment: FeedEnvironment;
let entry: EnvironmentEntry;
let count = 0;

beforeAll(async () => {
  pool = new CompilePool({ threadCount: 1 });
  kernel = await SnapshotKernel.create(logger);
  store = await SnapshotStore.open(await temporaryDirectory(), logger);
});

afterAll(async () => {
  await store.close();
  await pool.close();
  await removeTemporaryDirectories();
});

beforeEach(async () => {
  count += 1;
  environment = feed.addEnvironment(`entry-${count}`);
  const slot = new EnvironmentSlot(environment.ref, 0);
  const keys = new TrustedKeys(feed.root.publicKey, feed.trustRoot);
  keys.acceptKeySet(feed.keySet());
  const residency = new SnapshotResidency({
    bytesMax: Number.POSITIVE_INFINITY,
    usedBytes: () => kernel.snapshotBytes(),
    load: () => Promise.resolve(),
  });
  const directory = new AccessDirectory(new QuotaLedger());
  const parts = { store, pool, kernel, residency, directory, keys: () => keys, logger, now: Date.now };
  entry = new EnvironmentEntry(new EnvironmentReducer(slot, parts), {
    source: { isControlPlane: true, ...unused, ...source },
    slices: new Semaphore(1),
    logger,
    onChange: () => undefined,
  });
  entry.offerConfig(await environment.publish([aFlag('flag')]));
  await environment.issueCredential('srv');
  entry.offerAccess(environment.signedAccess());
  await entry.idle();
  expect(entry.reducer.standing).toEqual({ epoch: 1, revision: 1, accessEpoch: 1, accessSequence: 1 });
  fetched.length = 0;
});

const refuse = (): Promise<never> => Promise.reject(new Error('an entry does not ask for this'));
const unused = {
  fetchKeySet: refuse,
  fetchDigests: refuse,
  fetchBuckets: refuse,
  fetchTreeHeads: refuse,
  fetchConsistencyProof: refuse,
  postStatus: refuse,
};

const state = (revision: number, accessSequence = 1): EnvironmentState => ({
  ...environment.ref,
  epoch: 1,
  revision,
  accessSequence,
});

describe('a poll', () => {
  it('fetches what no message brings', async () => {
    await environment.publish([aFlag('second')]);
    await environment.issueCredential('srv');
    expect(entry.sync(state(2, 2))).toBe(false);
    await entry.idle();
    expect(fetched).toEqual(['config since 1', 'access']);
    expect(entry.reducer.standing).toMatchObject({ revision: 2, accessSequence: 2 });
  });

  it('fetches nothing that a message has brought when its turn comes', async () => {
    entry.offerConfig(await environment.publish([aFlag('second')]));
    await environment.issueCredential('srv');
    entry.offerAccess(environment.signedAccess());
    expect(entry.sync(state(2, 2))).toBe(false);
    await entry.idle();
    expect(fetched).toEqual([]);
    expect(entry.reducer.standing).toMatchObject({ revision: 2, accessSequence: 2 });
    expect(entry.sync(state(2, 2))).toBe(true);
  });

  it('fetches nothing that a message has shown to be bad (I10)', async () => {
    entry.offerConfig(await environment.publishBytes([['flag', 'flag', Buffer.from('{}')]]));
    entry.sync(state(2));
    await entry.idle();
    expect(entry.reducer.isQuarantined(state(2))).toBe(true);
    expect(fetched).toEqual([]);
  });

  it('fetches all the same when a message behind a gap asked for it meanwhile', async () => {
    const second = await environment.publish([aFlag('second')]);
    await environment.publish([aFlag('third')]);
    const fourth = await environment.publish([aFlag('fourth')]);
    entry.offerConfig(second);
    entry.offerConfig(fourth);
    entry.sync(state(2));
    await entry.idle();
    expect(fetched).toEqual(['config since 2']);
    expect(entry.reducer.standing.revision).toBe(4);
  });
});
