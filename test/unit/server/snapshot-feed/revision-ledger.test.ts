import { createHash } from 'node:crypto';
import { parseEnvironmentRef } from '@guidon/protocol';
import { RevisionLedger } from '@guidon/server/snapshot-feed/revision-ledger.js';
import { SnapshotStore } from '@guidon/server/snapshot-store/snapshot-store.js';
import pino from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import { removeTemporaryDirectories, temporaryDirectory } from '../../../support/running-node.js';
import { SeededRandom } from '../../../support/seeded-random.js';

afterAll(removeTemporaryDirectories);

const ENVIRONMENT = parseEnvironmentRef({ tenantId: 'ten_1', projectId: 'prj_1', environmentId: 'env_1' });
const STEPS = 150;
const NAMES = Array.from({ length: 12 }, (_, index) => `flag-${index}`);
const SIGNED = { document: Buffer.from('{}'), signature: Buffer.alloc(64) };

const hashOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** One revision, as simple as can be: a text per flag. Each flag has a block of its own, and equal texts have equal bytes. */
type Revision = ReadonlyMap<string, string>;

const definitionOf = (name: string, text: string): Buffer => Buffer.from(JSON.stringify({ name, text }));
const blockOf = (name: string, text: string): Buffer => Buffer.from(`block of ${name}: ${text}`);
const definitionsOf = (revision: Revision): Buffer[] => [...revision].map(([name, text]) => definitionOf(name, text));
const blocksOf = (revision: Revision): Buffer[] => [...revision].map(([name, text]) => blockOf(name, text));

function manifestOf(revision: number) {
  const rest = { epoch: 1, previousDigest: '', schema: 1, keyId: 'k', issuedAt: 0, expiresAt: 1 };
  return { ...ENVIRONMENT, ...rest, revision, digest: String(revision) };
}

describe('RevisionLedger', () => {
  it('keeps what the stored revision and the one to go back to have, and nothing else (I10)', async () => {
    const store = await SnapshotStore.open(await temporaryDirectory(), pino({ level: 'silent' }));
    const random = new SeededRandom(4711);
    let ledger = new RevisionLedger(store, ENVIRONMENT);
    let stored: Revision = new Map();
    let good: Revision | undefined;
    for (let step = 1; step <= STEPS; step += 1) {
      if (step % 10 === 0) {
        expect(await ledger.rollBack()).toBe(good !== undefined);
        stored = good ?? stored;
        good = undefined;
      } else {
        const next = new Map(stored);
        for (let count = random.below(4); count > 0; count -= 1) {
          const name = NAMES[random.below(NAMES.length)] ?? '';
          if (random.below(3) === 0) next.delete(name);
          // Few texts, so that what was there before comes back.
          else next.set(name, String(random.below(3)));
        }
        const fallback = (['stored', 'stored', 'kept', 'none'] as const)[random.below(4)] ?? 'none';
        const [isWhole, isFull] = [random.below(4) === 0, random.below(3) === 0];
        const touched = [...next].filter(([name, text]) => isWhole || stored.get(name) !== text);
        const known = new Set(isFull ? [] : blocksOf(stored).map(hashOf));
        const kept = new Set(blocksOf(next).map(hashOf));
        const newBlocks = blocksOf(next).filter((block) => !known.has(hashOf(block)));
        await ledger.put({
          manifest: manifestOf(step),
          signed: SIGNED,
          mark: { epoch: 1, revision: step, digest: String(step) },
          answer: {
            status: 'compiled',
            digest: String(step),
            root: Buffer.from(`root ${step}`),
            compiledCount: touched.length,
            isFull,
            newBlocks: new Map(newBlocks.map((block) => [hashOf(block), block])),
            droppedBlockIds: [...known].filter((id) => !kept.has(id)),
            entries: touched.map(([name, text]) => ['flag', name, hashOf(definitionOf(name, text))]),
          },
          changed: touched.map(([name, text]) => definitionOf(name, text)),
          removed: isWhole
            ? []
            : [...stored.keys()].filter((name) => !next.has(name)).map((name) => ['flag', name] as const),
          isWhole,
          fallback,
        });
        good = fallback === 'none' ? undefined : fallback === 'stored' ? stored : good;
        stored = next;
      }
      // A new one reads what the disk says.
      if (step % 7 === 0) ledger = new RevisionLedger(store, ENVIRONMENT);
      const blocks = new Set([...blocksOf(stored), ...blocksOf(good ?? new Map())].map(hashOf));
      const texts = NAMES.flatMap((name) => ['0', '1', '2'].map((text) => [name, text] as const));
      const keptDefinitions = new Set([...definitionsOf(stored), ...definitionsOf(good ?? new Map())].map(hashOf));
      expect(ledger.hasFallback).toBe(good !== undefined);
      expect(new Map(ledger.index)).toEqual(
        new Map([...stored].map(([name, text]) => [`flag\0${name}`, hashOf(definitionOf(name, text))])),
      );
      expect(new Set(ledger.blocks().keys())).toEqual(new Set(blocksOf(stored).map(hashOf)));
      for (const [name, text] of texts) {
        const [definition, block] = [hashOf(definitionOf(name, text)), hashOf(blockOf(name, text))];
        const found = store.findDefinitions(ENVIRONMENT, [definition]);
        expect([step, name, text, found !== undefined]).toEqual([step, name, text, keptDefinitions.has(definition)]);
        expect([step, name, text, store.findBlock(ENVIRONMENT, block) !== undefined]).toEqual([
          step,
          name,
          text,
          blocks.has(block),
        ]);
      }
    }
    await store.close();
  });
});
