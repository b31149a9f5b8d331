import assert from 'node:assert/strict';
import {
  type CompiledEnvironment,
  type Condition,
  compilePattern,
  compileSnapshot,
  encodeMsgpack,
  type FlagDefinition,
  type FlagSet,
  KernelHost,
} from '@guidon/engine';
import { FLAG_ENTRY, ROOT } from '@guidon/engine/compile/layout.js';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';

function compile(flagSet: FlagSet, revision = 1): CompiledEnvironment {
  const { compiled, issues } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision });
  assert(compiled !== undefined, JSON.stringify(issues));
  return compiled;
}

function withRule(key: string, when: Condition): FlagDefinition {
  return aFlag(key, { rules: [{ id: 'rule', when, serve: { variation: 'yes' } }] });
}

/** Worst-case costs by flag, in the order of the keys. */
function costsOf({ snapshot }: CompiledEnvironment): number[] {
  const view = new DataView(snapshot.root.buffer, snapshot.root.byteOffset);
  const flags = view.getUint32(ROOT.flags, true);
  return Array.from({ length: view.getUint32(ROOT.flagCount, true) }, (_, index) =>
    view.getUint32(flags + index * FLAG_ENTRY.bytes + FLAG_ENTRY.cost, true),
  );
}

describe('compileSnapshot()', () => {
  it('names every definition that contradicts itself, and compiles nothing then', () => {
    const { compiled, issues } = compileSnapshot(
      flagSetOf([
        aFlag('fine'),
        aFlag('dangling', { offVariation: 'nowhere' }),
        aFlag('weights', { fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 99_999 }] } } }),
        withRule('pattern', { attribute: 'email', op: 'matches', values: ['('] }),
        withRule('value', { attribute: 'version', op: 'semverGt', values: ['v1'] }),
        withRule('path', { attribute: '/a~2', op: 'exists', values: [true] }),
        withRule('operator', { attribute: 'a', op: 'unknown' as 'in', values: [1] }),
        aSegment('segment', { rules: [{ when: { attribute: 'ip', op: 'cidr', values: ['10.0.0.0/33'] } }] }),
      ]),
      { environment: TEST_ENVIRONMENT, revision: 1 },
    );
    expect(compiled).toBeUndefined();
    expect(issues.map(({ pointer, code }) => `${pointer} ${code}`).sort()).toEqual([
      '/flags/dangling dangling-reference',
      '/flags/operator validation-failed',
      '/flags/path validation-failed',
      '/flags/pattern unsafe-regex',
      '/flags/value validation-failed',
      '/flags/weights bad-weights',
      '/segments/segment validation-failed',
    ]);
  });

  it('refuses what checkFlagSet refuses: a cycle', () => {
    const prerequisite = (flag: string) => ({ prerequisites: [{ flag, variations: ['yes'] }] });
    const flagSet = flagSetOf([aFlag('a', prerequisite('b')), aFlag('b', prerequisite('a'))]);
    const { issues } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision: 1 });
    expect(issues.map(({ code }) => code)).toContain('reference-cycle');
  });

  it('does not compile again what is the same object', () => {
    const flagSet = flagSetOf([aFlag('a'), aFlag('b'), aSegment('s'), aChunk('s', 'included', ['user-1'])]);
    const before = compile(flagSet);
    const flags = new Map(flagSet.flags).set('b', aFlag('b', { on: false }));
    const { compiled: after } = compileSnapshot(
      { ...flagSet, flags },
      { environment: TEST_ENVIRONMENT, revision: 2, previous: before },
    );
    assert(after !== undefined, 'it compiles');
    expect(after.units.flags[0]).toBe(before.units.flags[0]);
    expect(after.units.flags[1]).not.toBe(before.units.flags[1]);
    expect(after.units.segments[0]).toBe(before.units.segments[0]);
    expect([...after.units.segmentKeys.values()][0]).toBe([...before.units.segmentKeys.values()][0]);
  });

  it('gives other bytes for another environment or revision, and none of the ids in clear', () => {
    const flagSet = flagSetOf([aFlag('a')]);
    const root = compile(flagSet).snapshot.root;
    expect(Buffer.compare(root, compile(flagSet, 2).snapshot.root)).not.toBe(0);
    expect(Buffer.from(root).includes('t1')).toBe(false);
  });

  it('stores the worst-case cost of each flag, with segments and prerequisites', () => {
    const clause = { attribute: 'a', op: 'in', values: ['x', 'y'] } as const;
    const weights = [{ variation: 'yes', weight: 100_000 }];
    const costs = costsOf(
      compile(
        flagSetOf([
          aFlag('a-none'),
          withRule('b-clauses', {
            all: [
              clause,
              { not: { attribute: 'a', op: 'lt', values: [1, 2, 3] } },
              { attribute: 'a', op: 'exists', values: [true] },
            ],
          }),
          withRule('c-regex', { attribute: 'a', op: 'matches', values: ['x', 'y'] }),
          withRule('d-segments', { segment: ['s', 'nowhere'] }),
          aFlag('e-prerequisite', {
            prerequisites: [
              { flag: 'c-regex', variations: ['yes'] },
              { flag: 'nowhere', variations: ['yes'] },
            ],
          }),
          aFlag('f-targets', { targets: [{ contextKind: 'user', variation: 'yes', keys: ['k'] }] }),
          aFlag('g-unserved', { requires: ['future'] }),
          aFlag('h-rollout', { fallthrough: { rollout: { weights, layer: { key: 'l', from: 0, to: 1 } } } }),
          aFlag('i-value', { variations: [...aFlag('i').variations, { key: 'long', value: 'x'.repeat(6_400) }] }),
          withRule('j-texts', {
            all: [
              { attribute: 'a', op: 'containsIgnoreCase', values: ['x', 'y'] },
              { attribute: 'a', op: 'semverLt', values: ['1.0.0'] },
            ],
          }),
          aSegment('s', { rules: [{ when: clause }, { when: clause, rollout: { weight: 5 } }] }),
          aChunk('s', 'included', ['k']),
          aChunk('s', 'included', ['k'], 'device'),
        ]),
      ),
    );
    const programs = (compilePattern('x')?.programSize ?? 0) + (compilePattern('y')?.programSize ?? 0);
    expect(programs).toBeGreaterThan(4);
    // Evaluating, and 36 to 44 bytes of members.
    const asked = 8 + 2;
    const regex = 1 + 2 + 64 * programs;
    expect(costs).toEqual([
      asked,
      asked + 2 + 4 + 1,
      asked + regex,
      asked + 1 + 2 + (2 * 2 + 2 + 2 * 4),
      asked + 4 + (8 + regex) + 4,
      asked + 2,
      8,
      asked + 2 * 2,
      8 + Math.ceil((6_400 + 3 + 38) / 32),
      asked + (1 + 24 + 2 * 10) + (1 + 8 + 2),
    ]);
    const { root } = compile(
      flagSetOf([withRule('c-regex', { attribute: 'a', op: 'matches', values: ['x', 'y'] })]),
    ).snapshot;
    expect(new DataView(root.buffer, root.byteOffset).getUint32(ROOT.flagCostMax, true)).toBe(asked + regex);
  });

  it('lists the instants at which a clause on @now changes its answer', async () => {
    const now = (op: 'before' | 'after', ...values: (string | number)[]): Condition => ({
      attribute: '@now',
      op,
      values,
    });
    const flagSet = flagSetOf([
      withRule('a', { any: [now('before', 1_000, 999.5), now('after', '1970-01-01T00:00:01Z')] }),
      aSegment('s', { rules: [{ when: now('after', 5_000.25) }] }),
    ]);
    const host = await KernelHost.create();
    const { snapshot } = compile(flagSet);
    const resident = await host.load(snapshot);
    expect(resident.instants).toEqual([1_000, 1_001, 5_001]);
    const answerAt = (time: number): string => {
      const answer = host.evaluate(resident, encodeMsgpack({ flags: 'a', context: {} }), {
        route: 'evaluate',
        now: time,
        clientSideOnly: false,
      });
      assert(answer.status === 'ok', answer.status);
      return Buffer.from(answer.bytes).toString('latin1');
    };
    // Between two instants nothing changes; at each something does.
    expect(answerAt(998)).toBe(answerAt(999));
    expect(answerAt(999)).not.toBe(answerAt(1_000));
    expect(answerAt(1_000)).not.toBe(answerAt(1_001));
    expect(answerAt(1_001)).toBe(answerAt(4_999));
  });
});
