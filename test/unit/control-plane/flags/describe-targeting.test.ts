import { describeTargetingChange } from '@guidon/control-plane/flags/describe-targeting.js';
import type { Targeting } from '@guidon/engine';
import { describe, expect, it } from 'vitest';

const BASE: Targeting = {
  on: false,
  offVariation: 'off',
  prerequisites: [],
  targets: [],
  rules: [],
  fallthrough: { variation: 'on' },
};
const rule = (id: string, variation = 'on') => ({
  id,
  when: { attribute: 'country', op: 'in', values: ['DE'] } as const,
  serve: { variation },
});
const split = (onWeight: number) => ({
  rollout: {
    weights: [
      { variation: 'on', weight: onWeight },
      { variation: 'off', weight: 100_000 - onWeight },
    ],
  },
});

describe('describeTargetingChange()', () => {
  const cases: [string, Partial<Targeting>, Partial<Targeting>, string[]][] = [
    ['nothing', {}, {}, []],
    ['on', {}, { on: true }, ['turned on']],
    ['off', { on: true }, {}, ['turned off']],
    ['off variation', {}, { offVariation: 'on' }, ['off variation changed from off to on']],
    [
      'a rollout grows',
      { fallthrough: split(10_000) },
      { fallthrough: split(12_500) },
      [
        'fallthrough serves 12.5 % on, 87.5 % off by user targetingKey instead of 10 % on, 90 % off by user targetingKey',
      ],
    ],
    [
      'rules come, go and move',
      { rules: [rule('a'), rule('b'), rule('c')] },
      { rules: [rule('c'), rule('d', 'off'), rule('b')] },
      ['rule d added at position 2, serves off', 'rule a removed', 'rules reordered to c, d, b'],
    ],
    [
      'a rule changes',
      { rules: [rule('a')] },
      { rules: [{ ...rule('a', 'off'), name: 'Germany', when: { all: [] } }] },
      ['rule a renamed', 'condition of rule a changed', 'rule a serves off instead of on'],
    ],
    [
      'individual targets move to another variation',
      { targets: [{ contextKind: 'user', variation: 'on', keys: ['u1', 'u2'] }] },
      {
        targets: [
          { contextKind: 'user', variation: 'on', keys: ['u1'] },
          { contextKind: 'user', variation: 'off', keys: ['u2'] },
        ],
      },
      ['1 key of kind user no longer get on', '1 key of kind user now get off'],
    ],
    [
      'individual targets change their order',
      {
        targets: [
          { contextKind: 'user', variation: 'on', keys: ['u1'] },
          { contextKind: 'user', variation: 'off', keys: [] },
        ],
      },
      {
        targets: [
          { contextKind: 'user', variation: 'off', keys: [] },
          { contextKind: 'user', variation: 'on', keys: ['u1'] },
        ],
      },
      ['individual targets reordered'],
    ],
    [
      'prerequisites',
      { prerequisites: [{ flag: 'a', variations: ['on'] }] },
      { prerequisites: [{ flag: 'a', variations: ['on', 'off'] }] },
      ['prerequisite a (on or off) added', 'prerequisite a (on) removed'],
    ],
  ];
  it.each(cases)('%s', (_name, before, after, sentences) => {
    expect(describeTargetingChange({ ...BASE, ...before }, { ...BASE, ...after })).toEqual(sentences);
  });
});
