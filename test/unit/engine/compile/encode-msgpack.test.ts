import { encodeMsgpack } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { decode } from '@msgpack/msgpack';
import { describe, expect, it } from 'vitest';

function hex(value: Json): string {
  return Buffer.from(encodeMsgpack(value)).toString('hex');
}

describe('encodeMsgpack()', () => {
  it.each<[Json, string]>([
    [null, 'c0'],
    [false, 'c2'],
    [true, 'c3'],
    [0, '00'],
    [-0, '00'],
    [127, '7f'],
    [128, 'cc80'],
    [255, 'ccff'],
    [256, 'cd0100'],
    [65_535, 'cdffff'],
    [65_536, 'ce00010000'],
    [4_294_967_295, 'ceffffffff'],
    [4_294_967_296, 'cf0000000100000000'],
    [Number.MAX_SAFE_INTEGER, 'cf001fffffffffffff'],
    [2 ** 53, 'cb4340000000000000'],
    [-1, 'ff'],
    [-32, 'e0'],
    [-33, 'd0df'],
    [-128, 'd080'],
    [-129, 'd1ff7f'],
    [-32_768, 'd18000'],
    [-32_769, 'd2ffff7fff'],
    [-2_147_483_648, 'd280000000'],
    [-2_147_483_649, 'd3ffffffff7fffffff'],
    [Number.MIN_SAFE_INTEGER, 'd3ffe0000000000001'],
    [1.5, 'cb3ff8000000000000'],
    [Number.NaN, 'cb7ff8000000000000'],
    ['', 'a0'],
    ['é', 'a2c3a9'],
    ['\ud800', 'a3efbfbd'],
    ['x\udc00', 'a478efbfbd'],
    [[], '90'],
    [{}, '80'],
    [{ b: 1, a: [null] }, '82a16201a16191c0'],
  ])('%j has one shortest form', (value, expected) => {
    expect(hex(value)).toBe(expected);
  });

  it('picks the shortest header at each border of strings, arrays and maps', () => {
    const text = (length: number): string => hex('x'.repeat(length)).slice(0, 10);
    expect([31, 32, 255, 256, 65_535, 65_536].map(text)).toEqual([
      'bf78787878',
      'd920787878',
      'd9ff787878',
      'da01007878',
      'daffff7878',
      'db00010000',
    ]);
    // 31 units that are 32 bytes.
    expect(hex(`${'x'.repeat(30)}é`).slice(0, 4)).toBe('d920');
    const array = (length: number): string => hex(new Array<Json>(length).fill(0)).slice(0, 10);
    expect([15, 16, 65_535, 65_536].map(array)).toEqual(['9f00000000', 'dc00100000', 'dcffff0000', 'dd00010000']);
    const map = (length: number): string =>
      hex(Object.fromEntries(Array.from({ length }, (_, index) => [`k${index}`, 0]))).slice(0, 6);
    expect([15, 16].map(map)).toEqual(['8fa26b', 'de0010']);
  });

  it('keeps own members whatever their names, in their order', () => {
    const value = JSON.parse('{"z":1,"__proto__":{"a":2},"constructor":3}') as Json;
    expect(hex(value)).toBe('83a17a01a95f5f70726f746f5f5f81a16102ab636f6e7374727563746f7203');
  });

  it('is read by an independent decoder', () => {
    const value: Json = { a: [1, -1, 1.25, 'ключ', null, true], b: { c: '🌍'.repeat(20) }, d: 4_294_967_296 };
    expect(decode(encodeMsgpack(value))).toEqual(value);
  });
});
