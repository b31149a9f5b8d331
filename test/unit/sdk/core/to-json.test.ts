import { toJson } from '@guidon/sdk-core';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('toJson()', () => {
  it('gives the very same object where there is nothing to change', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        // JSON says no -0; as an attribute it is 0.
        expect(toJson(value)).toBe(value);
      }),
    );
  });

  it('says what JSON.stringify would say', () => {
    const leaf = fc.oneof(
      fc.string(),
      fc.double(),
      fc.boolean(),
      fc.date(),
      fc.constantFrom(null, undefined, Number.NaN, Symbol('s'), () => 1),
    );
    const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
      tree: fc.oneof({ depthSize: 'small' }, leaf, fc.array(tie('tree')), fc.dictionary(fc.string(), tie('tree'))),
    }));
    fc.assert(
      fc.property(fc.dictionary(fc.string(), tree), (value) => {
        expect(JSON.stringify(toJson(value))).toBe(JSON.stringify(value));
      }),
    );
  });

  it.each([
    ['a date', new Date('2026-01-02T03:04:05.678Z'), '2026-01-02T03:04:05.678Z'],
    ['a date that is none', new Date(Number.NaN), null],
    ['undefined', undefined, null],
    ['a big integer', 1n, null],
    [
      'an object without a prototype',
      Object.assign(Object.create(null), { a: new Date(0) }),
      { a: '1970-01-01T00:00:00.000Z' },
    ],
    ['a name like a prototype', JSON.parse('{"__proto__": {"a": 1}}'), JSON.parse('{"__proto__": {"a": 1}}')],
  ])('%s', (_, value, expected) => {
    expect(toJson(value)).toEqual(expected);
  });

  it('refuses what refers to itself, without end', () => {
    const circular: { self?: unknown } = {};
    circular.self = circular;
    expect(() => toJson(circular)).toThrow(RangeError);
  });
});
