import { findEventContext, isEventName } from '@guidon/sdk-core';
import { describe, expect, test } from 'vitest';

describe('findEventContext()', () => {
  test.each([
    ['a user', { targetingKey: 'u', plan: 'pro' }, { targetingKey: 'u' }],
    ['another kind', { kind: 'device', targetingKey: 'd', os: 'x' }, { kind: 'device', targetingKey: 'd' }],
    [
      'several, without those who cannot be told',
      {
        kind: 'multi',
        user: { targetingKey: 'u', age: 3 },
        device: {},
        team: null,
        org: { targetingKey: 'x'.repeat(513) },
      },
      { kind: 'multi', user: { targetingKey: 'u' } },
    ],
    ['the longest key', { targetingKey: 'x'.repeat(512) }, { targetingKey: 'x'.repeat(512) }],
    ['a longer one', { targetingKey: 'x'.repeat(513) }, undefined],
    ['an empty one', { targetingKey: '' }, undefined],
    ['a number', { targetingKey: 5 }, undefined],
    ['nobody', { kind: 'multi', user: {} }, undefined],
  ])('%s', (_name, context, told) => {
    expect(findEventContext(context)).toEqual(told);
  });
});

test.each([
  ['flag', true],
  ['x'.repeat(256), true],
  ['é漢🌍', true],
  ['x'.repeat(257), false],
  ['', false],
  ['a\ud800b', false],
  [undefined, false],
  [5, false],
])('isEventName(%j) is %j', (name, is) => {
  expect(isEventName(name)).toBe(is);
});
