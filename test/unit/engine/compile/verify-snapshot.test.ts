import assert from 'node:assert/strict';
import { type CompiledSnapshot, compileSnapshot, environmentTag, verifySnapshot } from '@guidon/engine';
import { rootDigest } from '@guidon/engine/compile/compile-root.js';
import { ROOT } from '@guidon/engine/compile/layout.js';
import { parseEnvironmentRef } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';

const definitions = [
  aFlag('a', { rules: [{ id: 'r', when: { segment: ['s'] }, serve: { variation: 'yes' } }] }),
  aFlag('b', { prerequisites: [{ flag: 'a', variations: ['yes'] }] }),
  aSegment('s'),
  aChunk('s', 'included', ['user-1', 'user-2']),
];
const { compiled } = compileSnapshot(flagSetOf(definitions), { environment: TEST_ENVIRONMENT, revision: 1 });
assert(compiled !== undefined, 'it compiles');
const { snapshot } = compiled;

/** The root with one field changed and its digest made right again. */
function withField(offset: number, value: number): CompiledSnapshot {
  const root = snapshot.root.slice();
  new DataView(root.buffer).setUint32(offset, value, true);
  root.set(rootDigest(root), ROOT.digest);
  return { ...snapshot, root };
}

describe('verifySnapshot()', () => {
  it('accepts what was compiled', () => {
    expect(verifySnapshot(snapshot, TEST_ENVIRONMENT)).toBeUndefined();
  });

  it('refuses the snapshot of any other environment (I16)', () => {
    for (const other of [{ tenantId: 't2' }, { projectId: 'p2' }, { environmentId: 'e2' }]) {
      const environment = parseEnvironmentRef({ ...TEST_ENVIRONMENT, ...other });
      expect(verifySnapshot(snapshot, environment)?.detail).toContain('another environment');
    }
  });

  it.each([
    ['magic', ROOT.magic, 0, 'no snapshot'],
    ['format version', ROOT.formatVersion, 1, 'format version'],
    ['layout hash', ROOT.layoutHash, 1, 'another layout'],
    ['length', ROOT.totalBytes, 8, 'its length'],
    ['count of flags beyond the limit', ROOT.flagCount, 0x7fffffff, 'outside'],
    ['table outside', ROOT.slots, 0xfffffff0, 'outside'],
    ['revision beyond 2^53', ROOT.revision + 4, 0x7fffffff, 'revision'],
    ['kind `user`', ROOT.userKind, 99, 'user'],
  ])('refuses another %s', (_, offset, value, reason) => {
    expect(verifySnapshot(withField(offset, value), TEST_ENVIRONMENT)).toMatchObject({
      code: 'validation-failed',
      detail: expect.stringContaining(reason),
    });
  });

  it('refuses a wrong digest, and bytes cut off or added', () => {
    const flipped = snapshot.root.slice();
    flipped[flipped.length - 1] = (flipped[flipped.length - 1] ?? 0) ^ 1;
    expect(verifySnapshot({ ...snapshot, root: flipped }, TEST_ENVIRONMENT)?.detail).toContain('digest');
    for (const root of [
      new Uint8Array(0),
      snapshot.root.subarray(0, 100),
      snapshot.root.subarray(0, -8),
      Buffer.concat([snapshot.root, Buffer.alloc(8)]),
    ]) {
      expect(verifySnapshot({ ...snapshot, root }, TEST_ENVIRONMENT)).toBeDefined();
    }
  });

  it('refuses a missing, cut or exchanged block', () => {
    for (const [id, block] of snapshot.blocks) {
      const without = new Map(snapshot.blocks);
      without.delete(id);
      expect(verifySnapshot({ ...snapshot, blocks: without }, TEST_ENVIRONMENT)?.detail).toContain('missing or cut');
      const cut = new Map(snapshot.blocks).set(id, block.subarray(0, -8));
      expect(verifySnapshot({ ...snapshot, blocks: cut }, TEST_ENVIRONMENT)?.detail).toContain('missing or cut');
      const flipped = block.slice();
      flipped[10] = (flipped[10] ?? 0) ^ 1;
      const exchanged = new Map(snapshot.blocks).set(id, flipped);
      expect(verifySnapshot({ ...snapshot, blocks: exchanged }, TEST_ENVIRONMENT)?.detail).toContain(
        'not what its id says',
      );
    }
  });

  it('finds every single flipped bit of the root', () => {
    for (let offset = 0; offset < snapshot.root.length; offset += 1) {
      const root = snapshot.root.slice();
      root[offset] = (root[offset] ?? 0) ^ (1 << (offset % 8));
      expect(verifySnapshot({ ...snapshot, root }, TEST_ENVIRONMENT), `byte ${offset}`).toBeDefined();
    }
  });
});

describe('environmentTag()', () => {
  it('tells apart environments whose ids read the same when joined', () => {
    const tag = (tenantId: string, projectId: string, environmentId: string): string =>
      Buffer.from(environmentTag(parseEnvironmentRef({ tenantId, projectId, environmentId }))).toString('hex');
    expect(tag('a', 'b-c', 'd')).not.toBe(tag('a-b', 'c', 'd'));
    expect(tag('a', 'b', 'c')).toHaveLength(32);
  });
});
