import { assertPlainMsgpack } from '@guidon/protocol';
import fc from 'fast-check';
import { Packr } from 'msgpackr';
import { describe, expect, it } from 'vitest';

const packr = new Packr({ useRecords: false, variableMapSize: true });
const bytes = (...values: number[]) => Uint8Array.from(values);

describe('assertPlainMsgpack()', () => {
  it.each([
    ['nothing', bytes(), /the end in the middle/],
    ['a byte after the value', bytes(0xc0, 0xc0), /bytes after the value/],
    ['the reserved byte', bytes(0xc1), /extension or reserved/],
    ['an extension', bytes(0xd4, 0x01, 0x00), /extension or reserved/],
    ['a record extension', bytes(0xd4, 0x72, 0x40), /extension or reserved/],
    ['a cut string', bytes(0xa3, 0x61), /the end in the middle/],
    ['an array header that claims 4 G members', bytes(0xdd, 0xff, 0xff, 0xff, 0xff), /a count larger than the rest/],
    ['a map header that claims 4 G members', bytes(0xdf, 0xff, 0xff, 0xff, 0xff), /a count larger than the rest/],
    ['an integer key', bytes(0x81, 0x01, 0xc0), /a key that is not a string/],
    ['a duplicate key', bytes(0x82, 0xa1, 0x61, 0xc0, 0xa1, 0x61, 0xc0), /duplicate or forbidden/],
    ['__proto__', packr.pack(JSON.parse('{"constructor":1}')), /duplicate or forbidden/],
    ['ill-formed UTF-8', bytes(0xa2, 0xc3, 0x28), /ill-formed UTF-8/],
    ['2^64 - 1', bytes(0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff), /beyond 2\^53/],
    ['-2^63', bytes(0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0), /beyond 2\^53/],
    ['40 nested arrays', Uint8Array.from([...Array(40).fill(0x91), 0xc0]), /nested too deep/],
  ])('refuses %s', (_name, input, message) => {
    expect(() => assertPlainMsgpack(input)).toThrow(message);
  });

  it('bounds the number of items', () => {
    const input = packr.pack(Array.from({ length: 100 }, () => 1));
    expect(() => assertPlainMsgpack(input, { itemsMax: 101 })).not.toThrow();
    expect(() => assertPlainMsgpack(input, { itemsMax: 100 })).toThrow(/too many items/);
  });

  it('passes whatever msgpackr writes of JSON-like values', () => {
    const plainKey = fc.string().filter((key) => !['__proto__', 'constructor', 'prototype'].includes(key));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 4 },
        fc.constant(null),
        fc.boolean(),
        fc.double(),
        fc.maxSafeInteger(),
        fc.string({ unit: 'grapheme' }),
        fc.uint8Array(),
        fc.array(tie('value')),
        fc.dictionary(plainKey, tie('value')),
      ),
    }));
    fc.assert(fc.property(value, (input) => assertPlainMsgpack(packr.pack(input))));
  });

  it('never throws anything but malformed-body on random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (input) => {
        try {
          assertPlainMsgpack(input);
        } catch (error) {
          expect(error).toMatchObject({ name: 'PlatformError', code: 'malformed-body' });
        }
      }),
      { numRuns: 5_000 },
    );
  });
});
