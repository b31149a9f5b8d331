import { encodeJsonRequest } from '@guidon/engine';
import { CompilePool } from '@guidon/pool';
import { TrustedKeys } from '@guidon/protocol/signed-config';
import { AccessDirectory } from '@guidon/server/auth/access-directory.js';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { EnvironmentReducer } from '@guidon/server/snapshot-feed/environment-reducer.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
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

function newReducer(): EnvironmentReducer {
  slot = new EnvironmentSlot(environment.ref, 0);
  const keys = new TrustedKeys(feed.root.publicKey, feed.trustRoot);
  keys.acceptKeySet(feed.keySet());
  return new EnvironmentReducer(slot, {
    store,
    pool,
    kernel,
    directory: new AccessDirectory(),
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
    // The next revision leads on, as a whole: what the disk has is no longer what serves.
    const third = await environment.publish([aFlag('flag', { fallthrough: { variation: 'yes' }, salt: 'new' })]);
    expect(await reducer.receive(third)).toBe('fetch');
    expect(await reducer.receive(environment.message(0))).toBe('activated');
    expect(served()).toBe(true);
  });

  it('the first revision has nothing to give way to', async () => {
    await publish('yes');
    for (let trap = 0; trap < 5; trap += 1) await reducer.reportTrap();
    expect(served()).toBe(true);
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
    expect(reducer.standing).toEqual({ epoch: 1, revision: 2, accessSequence: 1 });
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

  it('many changes in a row leave nothing behind in kernel memory', async () => {
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
    for (let round = 1; round < 6; round += 1) await fill(round);
    expect(kernel.memoryBytes()).toBe(before);
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
