import { PlatformError, parseEnvironmentRef } from '@guidon/protocol';
import { QuarantineList } from '@guidon/server/snapshot-feed/quarantine-list.js';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import pino from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { removeTemporaryDirectories, temporaryDirectory } from '../../../support/running-node.js';

let store: SnapshotStore;
let count = 0;
const revision = (number: number) => ({ epoch: 1, revision: number, digest: `digest-${number}` });

beforeAll(async () => {
  store = await SnapshotStore.open(await temporaryDirectory(), pino({ level: 'silent' }));
});
afterAll(async () => {
  await store.close();
  await removeTemporaryDirectories();
});

function anEnvironment() {
  count += 1;
  return parseEnvironmentRef({ tenantId: 't', projectId: 'p', environmentId: `e${count}` });
}

describe('QuarantineList', () => {
  it.each([
    new PlatformError('limit-exceeded', 'the kernel memory is full'),
    new PlatformError('overloaded', 'the compile queue is full'),
    new PlatformError('timeout', 'the compile took too long'),
    new PlatformError('not-ready', 'no signing keys are known yet'),
    new PlatformError('storage-unavailable', 'the disk is full'),
    Object.assign(new Error('no space left'), { code: 'ENOSPC' }),
    new RangeError('Array buffer allocation failed'),
  ])('never counts a shortage against a revision: %s', (error) => {
    const list = new QuarantineList(store, anEnvironment());
    for (let attempt = 0; attempt < 10; attempt += 1) expect(list.strike(revision(1), error)).toBe(false);
  });

  it.each([
    new PlatformError('internal', 'the compile worker failed'),
    new PlatformError('validation-failed', 'a block is not what its id says'),
  ])('counts what the definitions are to blame for: %s', (error) => {
    const list = new QuarantineList(store, anEnvironment());
    expect([1, 2, 3].map(() => list.strike(revision(1), error))).toEqual([false, false, true]);
    list.clearStrikes();
    expect([1, 2, 1, 1].map((number) => list.strike(revision(number), error))).toEqual([false, false, false, false]);
  });

  it('forgets the oldest, on the disk too', async () => {
    const environment = anEnvironment();
    const list = new QuarantineList(store, environment);
    for (let number = 1; number <= 105; number += 1) await list.put(revision(number), 'why');
    const again = new QuarantineList(store, environment);
    for (const { entries } of [list, again]) {
      expect(entries).toHaveLength(100);
      expect(entries[0]?.revision).toBe(6);
      expect(entries[99]?.revision).toBe(105);
    }
    expect(again.has(revision(5))).toBe(false);
    expect(again.has(revision(6))).toBe(true);
  });
});
