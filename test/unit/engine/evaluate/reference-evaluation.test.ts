import {
  type Condition,
  checkContextLimits,
  type Definition,
  type FlagDefinition,
  ReferenceEvaluation,
  type Result,
  type Rollout,
} from '@guidon/engine';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';

const ask = (definitions: readonly Definition[], flag: string, context: unknown = {}): Result =>
  new ReferenceEvaluation(flagSetOf(definitions), context, { now: 0 }).evaluate(flag);
const needing = (key: string, ...flags: string[]): FlagDefinition =>
  aFlag(key, { prerequisites: flags.map((flag) => ({ flag, variations: ['no'] })) });
const chain = (edges: number): FlagDefinition[] =>
  Array.from({ length: edges + 1 }, (_, index) => needing(`f${index}`, ...(index < edges ? [`f${index + 1}`] : [])));
const whenIn = (...segment: string[]): Pick<FlagDefinition, 'rules'> => ({
  rules: [{ id: 'r', when: { segment }, serve: { variation: 'yes' } }],
});

const PARSE_ERROR = { reason: 'ERROR', errorCode: 'PARSE_ERROR' };

// Such sets are refused when written and when loaded; evaluation is bounded all the same.
describe('ReferenceEvaluation over definitions that nobody checked', () => {
  it('ends a prerequisite cycle with PARSE_ERROR', () => {
    expect(ask([needing('a', 'b'), needing('b', 'a')], 'a')).toMatchObject(PARSE_ERROR);
    expect(ask([needing('a', 'a')], 'a')).toMatchObject(PARSE_ERROR);
  });

  it('follows 16 prerequisite edges and not 17, in whatever order flags are asked', () => {
    const keys = chain(40).map((flag) => flag.key);
    const evaluateIn = (order: readonly string[]): Map<string, Result> => {
      const evaluation = new ReferenceEvaluation(flagSetOf(chain(40)), {}, { now: 0 });
      return new Map(order.map((key) => [key, evaluation.evaluate(key)]));
    };
    const alone = new Map(keys.map((key) => [key, ask(chain(40), key)]));
    expect(keys.filter((key) => alone.get(key)?.reason === 'ERROR')).toEqual(keys.slice(0, 24));
    fc.assert(
      fc.property(fc.shuffledSubarray(keys, { minLength: 1 }), (order) => {
        for (const [key, result] of evaluateIn(order)) expect(result).toEqual(alone.get(key));
      }),
    );
  });

  it('follows 16 segments below the first and not 17', () => {
    const segments = (edges: number) =>
      Array.from({ length: edges + 1 }, (_, index) => {
        const when: Condition = index < edges ? { segment: [`s${index + 1}`] } : { all: [] };
        return aSegment(`s${index}`, { rules: [{ when }] });
      });
    expect(ask([aFlag('f', whenIn('s0')), ...segments(16)], 'f')).toMatchObject({ variation: 'yes' });
    expect(ask([aFlag('f', whenIn('s0')), ...segments(17)], 'f')).toMatchObject(PARSE_ERROR);
    expect(ask([aFlag('f', whenIn('s')), aSegment('s', { rules: [{ when: { segment: ['s'] } }] })], 'f')).toMatchObject(
      PARSE_ERROR,
    );
  });

  it('bounds segments that multiply, by fuel', () => {
    const doubling = Array.from({ length: 17 }, (_, index) => {
      const when: Condition = index < 16 ? { not: { segment: [`s${index + 1}`, `s${index + 1}`] } } : { any: [] };
      return aSegment(`s${index}`, { rules: [{ when }, { when }, { when }] });
    });
    expect(ask([aFlag('f', whenIn('s0')), ...doubling], 'f')).toMatchObject({ errorCode: 'GENERAL' });
  });

  it.each<[string, Partial<FlagDefinition>]>([
    ['a dangling off variation', { on: false, offVariation: 'gone' }],
    ['a dangling fallthrough', { fallthrough: { variation: 'gone' } }],
    ['weights that sum to nothing', { fallthrough: { rollout: { weights: [] } } }],
    ['no variations', { variations: [] }],
  ])('answers PARSE_ERROR to %s', (_, changes) => {
    expect(ask([aFlag('f', changes)], 'f', { targetingKey: 'u' })).toMatchObject(PARSE_ERROR);
  });

  it('never matches an operator or a value that it does not know', () => {
    const clauses: unknown[] = [
      { attribute: 'a', op: 'unknown', values: ['x'] },
      { attribute: 'a', op: 'lt', values: [null, 'x', {}] },
      { attribute: 'a', op: 'matches', values: ['('] },
      { attribute: '', op: 'in', values: ['x'] },
      { attribute: '/~', op: 'in', values: ['x'] },
    ];
    for (const when of clauses as Condition[]) {
      const flag = aFlag('f', { rules: [{ id: 'r', when, serve: { variation: 'yes' } }] });
      expect(ask([flag], 'f', { a: 'x', '': 'x' })).toMatchObject({ variation: 'no' });
    }
  });
});

const EVERYTHING: Condition = {
  any: [
    ...(
      ['in', 'contains', 'startsWithIgnoreCase', 'matches', 'lt', 'before', 'semverLt', 'cidr', 'exists'] as const
    ).map(
      (op): Condition => ({
        not: { attribute: 'a', op, values: op === 'lt' ? [1] : op === 'exists' ? [false] : ['1.2.3.4'] },
      }),
    ),
    { not: { attribute: '/a/b/0', op: 'exists', values: [true] } },
  ],
};
const broad = flagSetOf([
  aFlag('broad', {
    targets: [{ contextKind: 'user', variation: 'no', keys: ['u'] }],
    rules: [{ id: 'r', when: { all: [{ not: EVERYTHING }] }, serve: { variation: 'yes' } }],
    fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }], layer: { key: 'l', from: 0, to: 5 } } },
  }),
]);

describe('ReferenceEvaluation over hostile contexts', () => {
  const cyclic: Record<string, unknown> = { targetingKey: 'u' };
  cyclic.a = cyclic;
  let deep: unknown = 1;
  for (let depth = 0; depth < 100_000; depth++) deep = [deep];

  it.each<[string, unknown]>([
    ['undefined', undefined],
    ['a function', () => 1],
    ['a symbol', Symbol('x')],
    ['a bigint', 5n],
    ['a value that contains itself', cyclic],
    ['100 000 arrays inside each other', { a: deep }],
    ['an object without prototype', Object.assign(Object.create(null), { targetingKey: 'u', a: 1 })],
    ['a sparse array', { a: Object.assign([], { length: 5 }) }],
    ['a member that is a function', { a: () => 1 }],
    ['a member undefined', { a: undefined }],
    ['a Map', { a: new Map([['b', 1]]) }],
    ['a bigint member', { a: 2n ** 70n, targetingKey: 5n }],
    [
      'names of the prototype',
      JSON.parse('{"__proto__":{"a":1},"constructor":1,"toString":2,"hasOwnProperty":3,"a":"x"}'),
    ],
    ['kind __proto__', { kind: '__proto__', a: 1 }],
    ['inherited members', Object.create({ targetingKey: 'u', a: 'x', kind: 5 })],
  ])('answers to %s', (_, context) => {
    const evaluation = new ReferenceEvaluation(broad, context, { now: 0 });
    expect(['yes', 'no', 'off', undefined]).toContain(
      (evaluation.evaluate('broad') as { variation?: string }).variation,
    );
    expect(() => JSON.stringify(evaluation.explain('broad'))).not.toThrow();
  });

  it('answers to anything that JSON can hold, the same every time, and explains the same result', () => {
    const value = fc.anything({ withNullPrototype: true, withBigInt: true, maxDepth: 4 });
    fc.assert(
      fc.property(
        fc.oneof(value, fc.record({ targetingKey: value, kind: value, a: value }, { requiredKeys: [] })),
        (context) => {
          const first = new ReferenceEvaluation(broad, context, { now: 0 });
          const result = first.evaluate('broad');
          expect(first.evaluate('broad')).toEqual(result);
          expect(new ReferenceEvaluation(broad, context, { now: 0 }).evaluate('broad')).toEqual(result);
          expect(first.explain('broad').result).toEqual(result);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  it('does not change the context', () => {
    const context = Object.freeze({ targetingKey: '\ud800', a: Object.freeze(['\udc00']), kind: null });
    ask([...broad.flags.values()], 'broad', context);
    expect(context).toEqual({ targetingKey: '\ud800', a: ['\udc00'], kind: null });
  });
});

describe('checkContextLimits()', () => {
  const nested = (depth: number): unknown => (depth === 1 ? {} : { a: nested(depth - 1) });
  it('names the limit', () => {
    expect(checkContextLimits(nested(16))).toBeUndefined();
    expect(checkContextLimits(nested(17))).toBe('depth');
    const wide = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, index) => [`a${index}`, 0]));
    expect(checkContextLimits(wide(512))).toBeUndefined();
    expect(checkContextLimits(wide(513))).toBe('attributes');
    expect(checkContextLimits([wide(300), wide(213)])).toBe('attributes');
    expect(checkContextLimits('x')).toBeUndefined();
  });
});

describe('evaluateAllVisible()', () => {
  const flagSet = flagSetOf([
    aFlag('b', { clientSide: true }),
    aFlag('a'),
    aFlag('B', { clientSide: true }),
    aFlag('a-0'),
  ]);
  const keysOf = (results: readonly Result[]): string[] => results.map((result) => result.flag);

  it('answers all flags, sorted by key bytes', () => {
    expect(keysOf(new ReferenceEvaluation(flagSet, {}, { now: 0 }).evaluateAllVisible())).toEqual([
      'B',
      'a',
      'a-0',
      'b',
    ]);
  });

  it('answers client-side flags only to a web credential', () => {
    const evaluation = new ReferenceEvaluation(flagSet, {}, { now: 0, clientSideOnly: true });
    expect(keysOf(evaluation.evaluateAllVisible())).toEqual(['B', 'b']);
  });

  it('answers INVALID_CONTEXT for each', () => {
    const results = new ReferenceEvaluation(flagSet, 5, { now: 0 }).evaluateAllVisible();
    expect(results.map((result) => 'errorCode' in result && result.errorCode)).toEqual(
      Array.from({ length: 4 }, () => 'INVALID_CONTEXT'),
    );
  });
});

describe('rollouts', () => {
  const rolled = (yes: number, changes: Partial<Rollout> = {}): FlagDefinition =>
    aFlag('f', {
      fallthrough: {
        rollout: {
          weights: [
            { variation: 'yes', weight: yes },
            { variation: 'no', weight: 100_000 - yes },
          ],
          ...changes,
        },
      },
    });

  it('move nobody out when they grow', () => {
    const weight = fc.nat(100_000);
    const targetingKey = fc.oneof(fc.string({ unit: 'binary', minLength: 1 }), fc.maxSafeInteger());
    fc.assert(
      fc.property(weight, weight, targetingKey, fc.constantFrom({}, { seed: 'x' }), (a, b, key, changes) => {
        const [small, large] = [Math.min(a, b), Math.max(a, b)];
        const before = ask([rolled(small, changes)], 'f', { targetingKey: key });
        const after = ask([rolled(large, changes)], 'f', { targetingKey: key });
        if ('variation' in before && before.variation === 'yes') expect(after).toEqual(before);
      }),
      { numRuns: 2_000 },
    );
  });
});
