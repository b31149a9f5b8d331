import { type Definition, type Explanation, ReferenceEvaluation } from '@guidon/engine';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment, flagSetOf } from '../../../support/flag-sets.js';

function repeated<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

function explain(definitions: readonly Definition[], context: unknown, now = 5): Explanation {
  return new ReferenceEvaluation(flagSetOf(definitions), context, { now }).explain('f');
}

const beta = { attribute: 'plan', op: 'in', values: ['free', 'beta'] } as const;

describe('explain()', () => {
  it('tells each step, clause and bucket up to what served', () => {
    const flag = aFlag('f', {
      prerequisites: [{ flag: 'p', variations: ['no'] }],
      targets: [{ contextKind: 'user', variation: 'no', keys: ['x'] }],
      rules: [
        {
          id: 'r1',
          when: { all: [beta, { attribute: 'age', op: 'lt', values: [5], negate: true }] },
          serve: { variation: 'no' },
        },
        {
          id: 'r2',
          when: { not: { segment: ['s'] } },
          serve: {
            rollout: {
              seed: 'salt',
              experiment: 'e',
              weights: [
                { variation: 'yes', weight: 70_000 },
                { variation: 'no', weight: 30_000 },
              ],
            },
          },
        },
        { id: 'r3', when: { all: [] }, serve: { variation: 'no' } },
      ],
    });
    const segment = aSegment('s', { rules: [{ when: beta, rollout: { weight: 50_000 } }] });
    const explanation = explain([flag, aFlag('p'), segment], { targetingKey: 'user-71140', plan: 'beta' });
    const result = { flag: 'f', value: 'yes', variation: 'yes', reason: 'SPLIT', ruleId: 'r2', inExperiment: true };
    const plan = { attribute: 'plan', contextKind: 'user', op: 'in', negate: false, isMissing: false, seen: 'beta' };
    expect(explanation).toEqual({
      result,
      now: 5,
      contextKinds: ['user'],
      flags: [
        {
          flag: 'f',
          result,
          fuelUsed: 4 + 1 + 2 + 1 + 2 + 2 + 2,
          steps: [
            { step: 'prerequisite', flag: 'p', variations: ['no'], outcome: 'met', served: 'no' },
            { step: 'target', targetIndex: 0, contextKind: 'user', variation: 'no', matched: false },
            {
              step: 'rule',
              ruleIndex: 0,
              ruleId: 'r1',
              matched: false,
              when: [
                {
                  group: 'all',
                  count: 2,
                  result: false,
                  conditions: [
                    { ...plan, matchedValue: 'beta', result: true },
                    { attribute: 'age', contextKind: 'user', op: 'lt', negate: true, isMissing: true, result: false },
                  ],
                },
              ],
            },
            {
              step: 'rule',
              ruleIndex: 1,
              ruleId: 'r2',
              matched: true,
              when: [
                {
                  group: 'not',
                  result: true,
                  conditions: [
                    {
                      negate: false,
                      result: false,
                      segments: [
                        {
                          segment: 's',
                          why: 'no-rule',
                          result: false,
                          rules: [
                            {
                              when: [{ ...plan, matchedValue: 'beta', result: true }],
                              // 52 318 under the segment's salt, from an independent murmur3
                              rollout: {
                                contextKind: 'user',
                                bucketBy: 'targetingKey',
                                bucketedValue: 'user-71140',
                                bucket: 52_318,
                                weight: 50_000,
                                isIn: false,
                              },
                              matched: false,
                            },
                          ],
                        },
                      ],
                    },
                  ],
                },
              ],
              rollout: {
                contextKind: 'user',
                bucketBy: 'targetingKey',
                bucketedValue: 'user-71140',
                saltSource: 'seed',
                outcome: 'served',
                bucket: 0,
                weightIndex: 0,
                range: [0, 70_000],
                variation: 'yes',
              },
            },
          ],
        },
        {
          flag: 'p',
          result: { flag: 'p', value: 'no', variation: 'no', reason: 'STATIC' },
          fuelUsed: 0,
          steps: [{ step: 'fallthrough', variation: 'no' }],
        },
      ],
    });
  });

  it.each<[string, Partial<Parameters<typeof aFlag>[1]>, unknown, unknown]>([
    ['an invalid context', {}, 5, { step: 'invalid-context' }],
    ['an off flag', { on: false }, {}, { step: 'off', variation: 'off' }],
    ['an unknown feature', { requires: ['x'] }, {}, { step: 'requires', missing: ['x'] }],
    [
      'a missing prerequisite',
      { prerequisites: [{ flag: 'q', variations: ['a'] }] },
      {},
      { step: 'prerequisite', flag: 'q', variations: ['a'], outcome: 'missing' },
    ],
    [
      'a missing targeting key',
      { fallthrough: { rollout: { weights: [{ variation: 'no', weight: 100_000 }] } } },
      {},
      {
        step: 'fallthrough',
        rollout: { contextKind: 'user', bucketBy: 'targetingKey', saltSource: 'flag', outcome: 'missing-attribute' },
      },
    ],
    [
      'a layer',
      {
        fallthrough: {
          rollout: { weights: [{ variation: 'no', weight: 100_000 }], layer: { key: 'l1', from: 0, to: 5 } },
        },
      },
      { targetingKey: 'user-1' },
      {
        step: 'fallthrough',
        rollout: {
          contextKind: 'user',
          bucketBy: 'targetingKey',
          bucketedValue: 'user-1',
          saltSource: 'flag',
          outcome: 'outside-layer',
          layer: { key: 'l1', from: 0, to: 5, bucket: 80_560 },
        },
      },
    ],
  ])('tells %s', (_, changes, context, step) => {
    expect(explain([aFlag('f', changes)], context).flags[0]?.steps).toEqual([step]);
  });

  it('tells a flag that is not there, or not for a web credential', () => {
    expect(explain([], {}).flags).toEqual([
      {
        flag: 'f',
        result: { flag: 'f', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' },
        fuelUsed: 0,
        steps: [{ step: 'not-found' }],
      },
    ]);
    const hidden = new ReferenceEvaluation(flagSetOf([aFlag('f')]), {}, { now: 0, clientSideOnly: true }).explain('f');
    expect(hidden.result).toEqual({ flag: 'f', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' });
    expect(JSON.stringify(hidden)).not.toContain('fallthrough');
  });

  it('tells why a segment has a member', () => {
    const why = (key: string, definitions: readonly Definition[]): unknown => {
      const flag = aFlag('f', { rules: [{ id: 'r', when: { segment: ['s'] }, serve: { variation: 'no' } }] });
      const [step] = explain([flag, ...definitions], { targetingKey: key }).flags[0]?.steps ?? [];
      const [trace] = step?.step === 'rule' ? step.when : [];
      return trace !== undefined && 'segments' in trace ? trace.segments[0]?.why : undefined;
    };
    const lists = [
      aSegment('s', { rules: [{ when: { all: [] } }] }),
      aChunk('s', 'included', ['in']),
      aChunk('s', 'excluded', ['out']),
    ];
    expect(['in', 'out', 'other'].map((key) => why(key, lists))).toEqual(['included', 'excluded', 'rule']);
    expect(why('x', [])).toBe('missing');
    expect(why('x', [aSegment('s')])).toBe('no-rule');
  });

  it('shows how far it came before fuel ran out', () => {
    const values = repeated(1_000, 0);
    const flag = aFlag('f', {
      rules: [
        {
          id: 'r',
          when: {
            all: [
              { attribute: 'few', op: 'gt', values },
              { attribute: 'many', op: 'gt', values },
            ],
          },
          serve: { variation: 'no' },
        },
      ],
    });
    const explanation = explain([flag], { few: [1], many: repeated(100, 1) });
    expect(explanation.result).toEqual({ flag: 'f', reason: 'ERROR', errorCode: 'GENERAL' });
    const [trace] = explanation.flags;
    expect(trace?.fuelUsed).toBe(1 + 1_000 + 1);
    expect(trace?.steps.map((step) => step.step)).toEqual(['rule', 'stopped']);
    expect(trace?.steps[0]).toMatchObject({
      matched: 'stopped',
      when: [{ result: 'stopped', conditions: [{ result: true }, { result: 'stopped' }] }],
    });
    expect(trace?.steps[1]).toEqual({ step: 'stopped', errorCode: 'GENERAL', why: 'fuel' });
  });

  it('names what stopped it', () => {
    const inS = { rules: [{ id: 'r', when: { segment: ['s'] }, serve: { variation: 'no' } }] };
    const lastOf = (definitions: readonly Definition[]): unknown => explain(definitions, {}).flags[0]?.steps.at(-1);
    expect(lastOf([aFlag('f', inS), aSegment('s', { requires: ['x'] })])).toEqual({
      step: 'stopped',
      errorCode: 'PARSE_ERROR',
      why: 'requires',
      at: 's',
    });
    expect(
      lastOf([aFlag('f', { prerequisites: [{ flag: 'q', variations: ['no'] }] }), aFlag('q', { requires: ['x'] })]),
    ).toEqual({
      step: 'stopped',
      errorCode: 'PARSE_ERROR',
      why: 'prerequisite',
      at: 'q',
    });
    expect(lastOf([aFlag('f', { prerequisites: [{ flag: 'f', variations: ['no'] }] })])).toEqual({
      step: 'stopped',
      errorCode: 'PARSE_ERROR',
      why: 'depth',
      at: 'f',
    });
  });

  it('tells a shared prerequisite once', () => {
    const needs = (key: string, ...flags: string[]) =>
      aFlag(key, { prerequisites: flags.map((flag) => ({ flag, variations: ['no'] })) });
    const explanation = explain([needs('f', 'a', 'b'), needs('a', 'c'), needs('b', 'c'), aFlag('c')], {});
    expect(explanation.flags.map((trace) => trace.flag)).toEqual(['f', 'a', 'c', 'b']);
  });

  it('stays small: long values are cut, and so is a trace of many nodes', () => {
    const rules = Array.from({ length: 200 }, (_, index) => ({
      id: `r${index}`,
      when: { any: repeated(50, { attribute: 'long', op: 'lt', values: [1] } as const) },
      serve: { variation: 'no' },
    }));
    const explanation = explain([aFlag('f', { rules })], { long: '🌍'.repeat(100), other: 1 });
    expect(explanation.isCut).toBe(true);
    expect(JSON.stringify(explanation).length).toBeLessThan(5_000 * 1_500);
    expect(explanation.result).toMatchObject({ reason: 'DEFAULT' });
    const long = explain([aFlag('f', { rules: rules.slice(0, 2) })], { long: '🌍'.repeat(5_000) });
    expect(long.result).toMatchObject({ reason: 'DEFAULT' });
    expect(JSON.stringify(long).length).toBeLessThan(100 * 1_500);
    const list = explain([aFlag('f', { rules: rules.slice(0, 1) })], { long: [...repeated(100, Number.NaN)] });
    expect(list.isCut).toBeUndefined();
    expect(JSON.stringify(list)).toContain(`"seen":[${repeated(20, '"NaN"').join(',')},"…"]`);
  });
});
