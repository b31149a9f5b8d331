import { readFile } from 'node:fs/promises';
import { performance } from 'node:perf_hooks';
import { chunkSegmentKeys } from '@guidon/engine';
import { CompilePool } from '@guidon/pool';
import { TrustedKeys } from '@guidon/protocol/signed-config';
import { AccessDirectory } from '@guidon/server/auth/access-directory.js';
import { EnvironmentSlot } from '@guidon/server/environment-slot.js';
import { QuotaLedger } from '@guidon/server/quota/quota-ledger.js';
import { EnvironmentReducer } from '@guidon/server/snapshot-feed/environment-reducer.js';
import { SnapshotKernel } from '@guidon/server/snapshot-kernel.js';
import { SnapshotResidency } from '@guidon/server/snapshot-residency.js';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import pino from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import { aFlag, aSegment } from '../../../support/flag-sets.js';
import { removeTemporaryDirectories, temporaryDirectory } from '../../../support/running-node.js';
import { SignedFeedServer } from '../../../support/signed-feed-server.js';

const KEY_COUNT = 1_000_000;
const KIBIBYTE = 1024;
const EDITION_COUNT = 7;
const logger = pino({ level: 'silent' });

afterAll(removeTemporaryDirectories);

const medianOf = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;

/** Bytes that this process has handed to the system for writing. */
async function writtenBytes(): Promise<number> {
  const match = /^wchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'));
  return Number(match?.[1]);
}

describe('EnvironmentReducer', () => {
  it('one flag changed beside 1 000 000 segment keys costs little, on the disk and in memory', {
    timeout: 180_000,
  }, async () => {
    const feed = new SignedFeedServer();
    const environment = feed.addEnvironment('large');
    const pool = new CompilePool({ threadCount: 1 });
    const kernel = await SnapshotKernel.create(logger);
    const store = await SnapshotStore.open(await temporaryDirectory(), logger);
    const slot = new EnvironmentSlot(environment.ref, 0);
    const keys = new TrustedKeys(feed.root.publicKey, feed.trustRoot);
    keys.acceptKeySet(feed.keySet());
    const residency = new SnapshotResidency({
      bytesMax: Number.POSITIVE_INFINITY,
      usedBytes: () => kernel.snapshotBytes(),
      load: () => Promise.reject(new Error('nothing is evicted')),
    });
    const directory = new AccessDirectory(new QuotaLedger());
    const parts = { store, pool, kernel, residency, directory, keys: () => keys, logger, now: Date.now };
    const reducer = new EnvironmentReducer(slot, parts);
    const list = Array.from({ length: KEY_COUNT }, (_, index) => `user-${index}`);
    const chunks = chunkSegmentKeys({ segment: 'million', list: 'included', contextKind: 'user' }, list);
    if (!chunks.ok) throw new Error('the keys fit');
    const rule = { id: 'r', when: { segment: ['million'] }, serve: { variation: 'yes' } } as const;
    const flags = Array.from({ length: 10 }, (_, index) => aFlag(`flag-${index}`, { salt: `${index}`, rules: [rule] }));
    expect(await reducer.receive(await environment.publish([...flags, aSegment('million'), ...chunks.value]))).toBe(
      'activated',
    );
    const written: number[] = [];
    const activeMs: number[] = [];
    for (let edition = 0; edition < EDITION_COUNT; edition += 1) {
      const message = await environment.publish([aFlag('flag-7', { salt: `edition-${edition}`, rules: [rule] })]);
      const before = {
        bytes: kernel.snapshotBytes(),
        written: await writtenBytes(),
        use: performance.eventLoopUtilization(),
      };
      expect(await reducer.receive(message)).toBe('activated');
      activeMs.push(performance.eventLoopUtilization(before.use).active);
      written.push((await writtenBytes()) - before.written);
      // The revision before stays as the way back, so its root and its block still count.
      expect(kernel.snapshotBytes() - before.bytes).toBeLessThanOrEqual(256 * KIBIBYTE);
    }
    // How many pages of the tree a revision touches depends on where the hashes of its rows lie.
    expect(medianOf(written)).toBeLessThanOrEqual(64 * KIBIBYTE);
    console.log(
      `one flag beside ${KEY_COUNT} keys: ${medianOf(activeMs).toFixed(1)} ms, ${medianOf(written)} bytes written`,
    );
    await store.close();
    await pool.close();
  });
});
