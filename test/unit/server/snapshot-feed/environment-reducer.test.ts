import { decodeDefinition, definitionKey, encodeJsonRequest, LAYOUT_HASH } from '@guidon/engine';
import { CompilePool } from '@guidon/pool';
import { DigestTree, hashDefinition, TrustedKeys } from '@guidon/protocol/signed-config';
import { AccessDirectory } from '@guidon/server/auth/access-directory.js';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { QuotaLedger } from '@guidon/server/quota/quota-ledger.js';
import { EnvironmentReducer } from '@guidon/server/snapshot-feed/environment-reducer.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import { SnapshotResidency } from '@guidon/server/snapshot-residency.js';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import pino from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../../../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../../../support/signed-feed-server.js';

const logger = pino({ level: 'silent' });
const feed = new SignedFeedServer();
let pool: CompilePool;
let kernel: SnapshotKernel;
let store: SnapshotStore;
let environment: FeedEnvironment;
let slot: EnvironmentSlot;
let reducer: EnvironmentReducer;
let residency: SnapshotResidency;
/** Of kernel memory for snapshots. */
const budgetBytes = Number.POSITIVE_INFINITY;
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

function newReducer(snapshotKernel = kernel): EnvironmentReducer {
  slot = new EnvironmentSlot(environment.ref, 0);
  residency = new SnapshotResidency({
    bytesMax: budgetBytes,
    usedBytes: () => snapshotKernel.snapshotBytes(),
    load: async () => void (await reducer.reload()),
  });
  const keys = new TrustedKeys(feed.root.publicKey, feed.trustRoot);
  keys.acceptKeySet(feed.keySet());
  return new EnvironmentReducer(slot, {
    store,
    pool,
    kernel: snapshotKernel,
    residency,
    directory: new AccessDirectory(new QuotaLedger()),
    keys: () => keys,
    logger,
    now: Date.now,
  });
}

beforeEach(() => {
  count += 1;
  environment = feed.addEnvironment(`reducer-${count}`);
  reducer = newReducer();
});

const publish = async (variation: string) =>
  reducer.receive(await environment.publish([aFlag('flag', { fallthrough: { variation } })]));

function served(): unknown {
  const { active } = slot;
  if (active === undefined) return undefined;
  const body = encodeJsonRequest({ flags: 'flag', context: {} });
  const answer = kernel.evaluate(slot, active, body, { route: 'evaluate', now: 0, clientSideOnly: false });
  return answer.status === 'ok' ? Buffer.from(answer.bytes).includes('yes') : answer.status;
}

/** What explaining would be given. */
function digestOfDefinitions(): string {
  const tree = new DigestTree();
  for (const bytes of reducer.definitionsInForce() ?? []) {
    const parsed = decodeDefinition(bytes);
    if (!parsed.ok) throw new Error('a definition in force does not parse');
    tree.set(parsed.value.kind, definitionKey(parsed.value), hashDefinition(bytes));
  }
  return tree.digest();
}

/** Puts what serves into quarantine on the disk alone. */
async function quarantine(revision: number, build = LAYOUT_HASH.toString(16)): Promise<void> {
  const { digest } = environment;
  await store.putQuarantine(environment.ref, { epoch: 1, revision, digest, reason: 'a test', build }, []);
}

describe('EnvironmentReducer', () => {
  it('a revision that traps three times gives way to the one before, and never comes back (I10, I20)', async () => {
    expect(await publish('no')).toBe('activated');
    expect(await publish('yes')).toBe('activated');
    expect(served()).toBe(true);
    await reducer.reportTrap();
    await reducer.reportTrap();
    expect(slot.active?.revision).toBe(2);
    await reducer.reportTrap();
    expect(slot.active?.revision).toBe(1);
    expect(served()).toBe(false);
    expect(reducer.quarantine).toMatchObject([{ revision: 2, reason: '3 traps' }]);
    expect(await reducer.receive(environment.message(0))).not.toBe('activated');
    expect(slot.active?.revision).toBe(1);
    expect(digestOfDefinitions()).toBe(slot.active?.digest);
    // The next revision leads on, from what serves: the disk went back with it.
    const third = await environment.publish([aFlag('flag', { fallthrough: { variation: 'yes' }, salt: 'new' })]);
    expect(await reducer.receive(third)).toBe('fetch');
    expect(await reducer.receive(environment.message(1))).toBe('activated');
    expect(served()).toBe(true);
    reducer = newReducer();
    expect(await reducer.restore()).toBe(true);
    expect(slot.active?.revision).toBe(3);
  });

  it('a quarantined revision does not come back with a restart: the last good one does (I7, I10)', async () => {
    await publish('no');
    await environment.publish([aFlag('other'), aFlag('third')]);
    await reducer.receive(environment.message(1));
    await environment.publish([aFlag('flag', { fallthrough: { variation: 'yes' } })], [['flag', 'other']]);
    expect(await reducer.receive(environment.message(2))).toBe('activated');
    for (let trap = 0; trap < 3; trap += 1) await reducer.reportTrap();
    expect(slot.active?.revision).toBe(2);
    for (let restart = 0; restart < 2; restart += 1) {
      reducer = newReducer();
      expect(await reducer.restore()).toBe(true);
      expect(slot.active?.revision).toBe(2);
      expect(served()).toBe(false);
      expect(digestOfDefinitions()).toBe(slot.active?.digest);
      expect(reducer.quarantine).toMatchObject([{ revision: 3 }]);
      expect(await reducer.receive(environment.message(0))).toBe('ignored');
    }
  });

  it('a process that ends between the third trap and the way back takes it when it starts (I10)', async () => {
    await publish('no');
    await publish('yes');
    await quarantine(2);
    reducer = newReducer();
    expect(await reducer.restore()).toBe(true);
    expect(slot.active?.revision).toBe(1);
    expect(served()).toBe(false);
    expect(digestOfDefinitions()).toBe(slot.active?.digest);
  });

  it('traps after a restart lead to the revision that the disk kept', async () => {
    await publish('no');
    await publish('yes');
    reducer = newReducer();
    await reducer.restore();
    expect(slot.active?.revision).toBe(2);
    for (let trap = 0; trap < 3; trap += 1) await reducer.reportTrap();
    expect(slot.active?.revision).toBe(1);
    expect(served()).toBe(false);
  });

  it('a revision that has trapped is no way back for the next: the good one before it is', async () => {
    await publish('no');
    await publish('yes');
    await reducer.reportTrap();
    await environment.publish([aFlag('added')]);
    await reducer.receive(environment.message(2));
    for (let trap = 0; trap < 3; trap += 1) await reducer.reportTrap();
    expect(slot.active?.revision).toBe(1);
    expect(digestOfDefinitions()).toBe(slot.active?.digest);
    reducer = newReducer();
    expect(await reducer.restore()).toBe(true);
    expect(slot.active?.revision).toBe(1);
    expect(served()).toBe(false);
  });

  it('another build of the evaluator tries again what this one refused', async () => {
    await publish('no');
    await publish('yes');
    await quarantine(2, 'another build');
    reducer = newReducer();
    expect(await reducer.restore()).toBe(true);
    expect(slot.active?.revision).toBe(2);
    expect(reducer.quarantine).toEqual([]);
  });

  it('an upgraded node serves the last good one until it has what it may try again', async () => {
    await publish('no');
    await publish('yes');
    for (let trap = 0; trap < 3; trap += 1) await reducer.reportTrap();
    const [poison] = store.listQuarantine(environment.ref);
    if (poison === undefined) throw new Error('nothing is in quarantine');
    await store.putQuarantine(environment.ref, { ...poison, build: 'the build before' }, [poison]);
    reducer = newReducer();
    expect(await reducer.restore()).toBe(true);
    expect(slot.active?.revision).toBe(1);
    expect(await reducer.receive(environment.message(1))).toBe('activated');
    expect(slot.active?.revision).toBe(2);
  });

  it('a first revision that traps has nothing to give way to: not ready, also after a restart, until a newer one', async () => {
    await publish('yes');
    for (let trap = 0; trap < 3; trap += 1) await reducer.reportTrap();
    expect(slot.active).toBeUndefined();
    reducer = newReducer();
    expect(await reducer.restore()).toBe(false);
    expect(slot.active).toBeUndefined();
    expect(reducer.standing.revision).toBe(0);
    const second = await environment.publish([aFlag('flag', { fallthrough: { variation: 'no' } })]);
    expect(await reducer.receive(second)).toBe('fetch');
    expect(await reducer.receive(environment.message(0))).toBe('activated');
    expect(served()).toBe(false);
    // The quarantined one is no way back.
    for (let trap = 0; trap < 3; trap += 1) await reducer.reportTrap();
    expect(slot.active).toBeUndefined();
  });

  it('traps of earlier revisions do not count', async () => {
    await publish('no');
    await publish('yes');
    await reducer.reportTrap();
    await reducer.reportTrap();
    await publish('no');
    await reducer.reportTrap();
    expect(slot.active?.revision).toBe(3);
  });

  it('the high-water mark of config and access outlives the process (I7)', async () => {
    const old = environment.message.bind(environment);
    await publish('no');
    const first = old(0);
    const access = environment.signedAccess();
    await environment.issueCredential('srv');
    await publish('yes');
    expect(await reducer.receiveAccess(environment.signedAccess())).toBe('activated');
    reducer = newReducer();
    expect(await reducer.receive(first)).toBe('ignored');
    expect(await reducer.receiveAccess(access)).toBe('ignored');
    expect(slot.active).toBeUndefined();
    expect(await reducer.restore()).toBe(true);
    expect(reducer.standing).toEqual({ epoch: 1, revision: 2, accessEpoch: 1, accessSequence: 1 });
  });

  it('quarantine outlives the process', async () => {
    await publish('no');
    const poison = await environment.publishBytes([['flag', 'flag', Buffer.from('{}')]]);
    expect(await reducer.receive(poison)).toBe('refused');
    reducer = newReducer();
    await reducer.restore();
    expect(reducer.isQuarantined({ epoch: 1, revision: 2 })).toBe(true);
    expect(await reducer.receive(poison)).toBe('ignored');
    expect(served()).toBe(false);
  });

  it('many changes in a row leave nothing behind in kernel memory or on the disk', async () => {
    await publish('no');
    const fill = async (round: number) => {
      for (let step = 0; step < 20; step += 1) {
        await reducer.receive(
          await environment.publish([
            aFlag('flag', { salt: `s-${round}-${step}` }),
            aFlag(`extra-${step % 3}`, { salt: `s-${round}` }),
          ]),
        );
      }
    };
    await fill(0);
    const before = kernel.memoryBytes();
    const blockCount = store.listBlockIds(environment.ref).length;
    for (let round = 1; round < 6; round += 1) await fill(round);
    expect(kernel.memoryBytes()).toBe(before);
    expect(store.listBlockIds(environment.ref)).toHaveLength(blockCount);
  });

  it('a full kernel memory is no fault of the revision: it is tried until there is room, never given up (I10)', async () => {
    const small = await SnapshotKernel.create(logger, { memoryBytesMax: 8 * 1024 * 1024 });
    const text = (name: string, size: number) =>
      aFlag(name, {
        type: 'string',
        variations: [
          { key: 'yes', value: name.repeat(size / name.length) },
          { key: 'no', value: 'n' },
          { key: 'off', value: 'o' },
        ],
      });
    const big = (prefix: string) => Array.from({ length: 35 }, (_, index) => text(`${prefix}-${100 + index}`, 60_000));
    const hog = newReducer(small);
    expect(await hog.receive(await environment.publish(big('hog')))).toBe('activated');
    environment = feed.addEnvironment(`reducer-${count}-victim`);
    const victim = newReducer(small);
    expect(await victim.receive(await environment.publish([aFlag('flag')]))).toBe('activated');
    const change = await environment.publish(big('own'));
    for (let attempt = 0; attempt < 5; attempt += 1) expect(await victim.receive(change)).toBe('failed');
    expect(victim.quarantine).toEqual([]);
    expect(victim.slot.active?.revision).toBe(1);
    await hog.remove();
    expect(await victim.receive(change)).toBe('activated');
  });

  it('no signature takes the marks further than anything honest goes (I7)', async () => {
    await environment.issueCredential('srv');
    expect(await reducer.receiveAccess(environment.signedAccess())).toBe('activated');
    for (const members of [{ sequence: 1_000_002 }, { epoch: 102, sequence: 1 }]) {
      expect(await reducer.receiveAccess(environment.signedAccess(members))).toBe('refused');
    }
    expect(await reducer.receiveAccess(environment.signedAccess({ sequence: 1_000_001 }))).toBe('activated');
    await publish('no');
    expect(await reducer.receive(environment.message(0, environment.sign({ epoch: 102 })))).toBe('refused');
    expect(await reducer.receive(environment.message(0, environment.sign({ epoch: 101 })))).toBe('activated');
  });

  it('remove() forgets everything but the high-water marks', async () => {
    await publish('no');
    await publish('yes');
    const before = environment.message(0, environment.sign({ revision: 1 }));
    await reducer.remove();
    expect(slot.active).toBeUndefined();
    expect(store.listEnvironments()).not.toContainEqual(environment.ref);
    reducer = newReducer();
    expect(await reducer.restore()).toBe(false);
    expect(await reducer.receive(before)).toBe('ignored');
  });
});
