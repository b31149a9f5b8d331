import type { EvaluatedFlag, Json } from '@guidon/browser-sdk';
import { differences, FlagValues } from '@guidon/browser-sdk/flag-values.js';
import { describe, expect, it } from 'vitest';

const flag = (key: string, value: Json, variation = 'on'): EvaluatedFlag => ({
  flag: key,
  value,
  variation,
  reason: 'STATIC',
});

describe('FlagValues', () => {
  it('replace() names what is new, another and gone, and keeps what is equal the same object', () => {
    const values = new FlagValues();
    expect(values.replace([flag('a', { deep: [1] }), flag('b', 1), flag('c', 1)], { revision: 1 })).toEqual([
      'a',
      'b',
      'c',
    ]);
    const before = values.results.get('a');
    const changed = values.replace([flag('a', { deep: [1] }), flag('b', 2), flag('d', 1)], { revision: 2 });
    expect(changed).toEqual(['b', 'd', 'c']);
    expect(values.results.get('a')).toBe(before);
    expect([...values.results.keys()]).toEqual(['a', 'b', 'd']);
  });

  it('replace() calls another variation or reason a change, and nothing at all none', () => {
    const values = new FlagValues();
    values.replace([flag('a', 1)], { revision: 1 });
    const { results } = values;
    expect(values.replace([flag('a', 1)], { revision: 2 })).toEqual([]);
    expect(values.results).toBe(results);
    expect(values.position).toEqual({ epoch: undefined, revision: 2 });
    expect(values.replace([flag('a', 1, 'other')], { revision: 2 })).toEqual(['a']);
    expect(values.replace([{ ...flag('a', 1, 'other'), reason: 'SPLIT' }], { revision: 2 })).toEqual(['a']);
  });

  it.each([
    ['an older revision', { epoch: 1, revision: 5 }, { epoch: 1, revision: 4 }, false],
    ['the same revision', { epoch: 1, revision: 5 }, { epoch: 1, revision: 5 }, true],
    ['an older revision of a higher epoch', { epoch: 1, revision: 5 }, { epoch: 2, revision: 1 }, true],
    ['a newer revision of a lower epoch', { epoch: 2, revision: 5 }, { epoch: 1, revision: 9 }, false],
    ['an older revision without an epoch', { epoch: 1, revision: 5 }, { revision: 4 }, false],
    ['a newer revision without an epoch', { epoch: 1, revision: 5 }, { revision: 6 }, true],
    ['an older revision where none was known', { revision: 5 }, { epoch: 1, revision: 4 }, false],
  ])('replace() and %s (I8)', (_, held, next, isTaken) => {
    const values = new FlagValues();
    values.replace([flag('a', 'held')], held);
    const changed = values.replace([flag('a', 'next')], next);
    expect(changed).toEqual(isTaken ? ['a'] : undefined);
    expect(values.results.get('a')?.value).toBe(isTaken ? 'next' : 'held');
    expect(values.position?.revision).toBe(isTaken ? next.revision : held.revision);
  });

  it('replace() keeps the epoch that was known', () => {
    const values = new FlagValues();
    values.replace([], { epoch: 3, revision: 1 });
    values.replace([], { revision: 2 });
    expect(values.position).toEqual({ epoch: 3, revision: 2 });
  });

  it('is without a position before the first values, also when those are none', () => {
    const values = new FlagValues();
    expect(values.position).toBeUndefined();
    expect(values.replace([], { revision: 0 })).toEqual([]);
    expect(values.position).toBeDefined();
  });
});

it('differences() compares contents', () => {
  const mapOf = (...flags: EvaluatedFlag[]) => new Map(flags.map((one) => [one.flag, one]));
  expect(differences(mapOf(flag('a', [1]), flag('b', 1)), mapOf(flag('a', [1]), flag('b', 2)))).toEqual(['b']);
});
