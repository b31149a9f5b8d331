import { decodeStrictMsgpack, encodeMsgpack } from '@guidon/engine';
import { describe, expect, it } from 'vitest';

function decodeHex(hex: string): unknown {
  const decoded = decodeStrictMsgpack(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
  return decoded.ok ? decoded.value : `${decoded.detail} at ${decoded.offset}`;
}

describe('decodeStrictMsgpack()', () => {
  it.each<[string, unknown]>([
    ['c0', null],
    ['00', 0],
    ['ff', -1],
    ['cc ff', 255],
    ['cd ffff', 65_535],
    ['ce ffffffff', 4_294_967_295],
    ['cf ffffffffffffffff', 2 ** 64],
    ['cf 0020000000000001', 2 ** 53],
    ['cf 0020000000000003', 2 ** 53 + 4],
    ['d0 80', -128],
    ['d3 8000000000000000', -(2 ** 63)],
    ['ca 3fc00000', 1.5],
    ['cb 7ff0000000000000', Infinity],
    ['d9 01 61', 'a'],
    ['da 0001 61', 'a'],
    ['db 00000001 61', 'a'],
    ['a3 efbbbf', '\ufeff'],
    ['dc 0001 c3', [true]],
    ['de 0001 a161 01', { a: 1 }],
    ['df 00000000', {}],
    ['d6 ff 00000001', 1_000],
    ['d7 ff 0000000400000001', 1_000],
    ['d7 ff ee6b27fc00000000', 999],
    ['c7 0c ff 3b9ac9ff ffffffffffffffff', -1],
  ])('%s is read', (hex, value) => {
    expect(decodeHex(hex)).toEqual(value);
  });

  it.each([
    ['', 'the body ends'],
    ['c1', 'bin, 0xc1'],
    ['c4 00', 'bin, 0xc1'],
    ['d4 01 00', 'bin, 0xc1'],
    ['d6 01 00000000', 'no timestamp'],
    ['c7 04 ff 00000000', 'no timestamp'],
    ['d7 ff fffffffc00000000', 'nanoseconds'],
    ['c7 0c ff 3b9aca00 0000000000000000', 'nanoseconds'],
    ['00 00', 'bytes follow'],
    ['cd 00', 'the body ends'],
    ['a2 61', 'the body ends'],
    ['dd ffffffff', 'the body ends'],
    ['df ffffffff', 'the body ends'],
    ['81 01 01', 'key of a map is no string'],
    ['81 c0 01', 'key of a map is no string'],
    ['82 a161 01 a161 02', 'same key twice'],
    ['82 a161 01 d90161 02', 'same key twice'],
    ['a1 ff', 'UTF-8'],
    ['a2 c080', 'UTF-8'],
    ['a3 eda080', 'UTF-8'],
    ['a4 f4908080', 'UTF-8'],
    ['a2 c3 28', 'UTF-8'],
  ])('%s is refused', (hex, reason) => {
    expect(decodeHex(hex)).toContain(reason);
  });

  it('bounds the depth, and does not recurse beyond it', () => {
    const nested = (depth: number): Uint8Array => Buffer.concat([Buffer.alloc(depth, 0x91), Buffer.from([0xc0])]);
    expect(decodeStrictMsgpack(nested(64)).ok).toBe(true);
    expect(decodeStrictMsgpack(nested(65)).ok).toBe(false);
    expect(decodeStrictMsgpack(nested(1_000_000)).ok).toBe(false);
  });

  it('makes own members of any name', () => {
    const decoded = decodeStrictMsgpack(encodeMsgpack(JSON.parse('{"__proto__":{"x":1},"constructor":2}')));
    expect(decoded.ok && Object.keys(decoded.value as object)).toEqual(['__proto__', 'constructor']);
    expect(({} as { x?: number }).x).toBeUndefined();
  });
});
