import assert from 'node:assert/strict';
import {
  type CompiledEnvironment,
  type CompiledSnapshot,
  compileSnapshot,
  type Definition,
  verifySnapshot,
} from '@guidon/engine';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TEST_ENVIRONMENT } from '../support/kernel-evaluator.js';
import { parsedFlagSet } from './compare-evaluators.js';
import { definitions } from './flag-set-generators.js';

function mustCompile(
  set: readonly Definition[],
  revision: number,
  previous?: CompiledEnvironment,
): CompiledEnvironment {
  const options = { environment: TEST_ENVIRONMENT, revision, ...(previous === undefined ? {} : { previous }) };
  const { compiled, issues } = compileSnapshot(parsedFlagSetOnce(set), options);
  assert(compiled !== undefined, JSON.stringify(issues));
  return compiled;
}

/** Equal definitions stay the same object from revision to revision, as in a node. */
const known = new Map<string, Definition>();
function parsedFlagSetOnce(set: readonly Definition[]): ReturnType<typeof parsedFlagSet> {
  const flagSet = parsedFlagSet(set);
  const once = <D extends Definition>(definitionsByKey: ReadonlyMap<string, D>): Map<string, D> =>
    new Map(
      [...definitionsByKey].map(([key, definition]) => {
        const text = JSON.stringify(definition);
        const same = known.get(text) as D | undefined;
        if (same === undefined) known.set(text, definition);
        return [key, same ?? definition];
      }),
    );
  return { flags: once(flagSet.flags), segments: once(flagSet.segments), segmentKeys: once(flagSet.segmentKeys) };
}

function sameBytes(a: CompiledSnapshot, b: CompiledSnapshot): boolean {
  return Buffer.compare(a.root, b.root) === 0 && [...a.blocks.keys()].join() === [...b.blocks.keys()].join();
}

/** Each revision takes some definitions of one set and some of another. */
const history = fc.array(fc.tuple(definitions, fc.integer({ min: 0, max: 2 ** 16 - 1 })), {
  minLength: 2,
  maxLength: 8,
});

it('compileSnapshot() gives the bytes of one full compile after any number of incremental ones', () => {
  fc.assert(
    fc.property(history, (revisions) => {
      let current: Definition[] = [];
      let compiled: CompiledEnvironment | undefined;
      for (const [index, [set, mask]] of revisions.entries()) {
        // Lists of keys follow their segments; single flags and segments come, change and stay.
        const chunks = set.filter((definition) => definition.kind === 'segment-keys');
        const others = set.filter((definition) => definition.kind !== 'segment-keys');
        const taken = others.filter((_, position) => ((mask >> position) & 1) === 0 || index === 0);
        const keys = new Set(taken.map((definition) => `${definition.kind} ${definition.key}`));
        const kept = current.filter(
          (definition) => definition.kind !== 'segment-keys' && !keys.has(`${definition.kind} ${definition.key}`),
        );
        current = [...kept, ...taken, ...chunks];
        compiled = mustCompile(current, index + 1, compiled);
      }
      assert(compiled !== undefined, 'there is at least one revision');
      const full = mustCompile(current, revisions.length);
      expect(sameBytes(compiled.snapshot, full.snapshot)).toBe(true);
      expect(verifySnapshot(full.snapshot, TEST_ENVIRONMENT)).toBeUndefined();
    }),
    { numRuns: process.env.GUIDON_DEEP === '1' ? 2_000 : 120 },
  );
}, 120_000);

it('compileSnapshot() rewrites only the root and the block of the one flag that changed', () => {
  const [set] = fc.sample(definitions, { seed: 5, numRuns: 1 }) as [Definition[]];
  const before = mustCompile(set, 1);
  const changed = set.map((definition) =>
    definition.kind === 'flag' && definition.key === 'flag-0'
      ? { ...definition, salt: 'another-salt', fallthrough: { variation: 'third' } }
      : definition,
  );
  const after = mustCompile(changed, 2, before);
  const fresh = [...after.snapshot.blocks.keys()].filter((id) => !before.snapshot.blocks.has(id));
  expect(fresh).toHaveLength(1);
  for (const [id, block] of after.snapshot.blocks) {
    if (!fresh.includes(id)) expect(before.snapshot.blocks.get(id)).toBe(block);
  }
  // The same input twice gives the same bytes, and `previous` is not touched by being built upon.
  expect(sameBytes(mustCompile(changed, 2, before).snapshot, after.snapshot)).toBe(true);
  expect(sameBytes(mustCompile(set, 1, after).snapshot, before.snapshot)).toBe(true);
});
