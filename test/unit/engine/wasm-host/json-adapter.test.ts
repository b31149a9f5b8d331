import { answerToJson, decodeStrictMsgpack, encodeJsonRequest, encodeMsgpack } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';

describe('encodeJsonRequest()', () => {
  it.each([
    ['{"a":1,"__proto__":{"b":[true,null]}}', '{"a":1,"__proto__":{"b":[true,null]}}'],
    ['{"a":"\\ud800"}', '{"a":"\ufffd"}'],
    ['{"\\ud800":1}', '{"\ufffd":1}'],
    ['{"x":{"\\udc00":1,"\\ud800":2}}', '{"x":{"\ufffd":2}}'],
    ['[[{"\\ud800\\udc00":"\\udc00\\ud800"}]]', '[[{"\u{10000}":"\ufffd\ufffd"}]]'],
    ['[1e308,-0,1.5,9007199254740993]', '[1e308,0,1.5,9007199254740992]'],
  ])('%s is sent as %s', (text, expected) => {
    const decoded = decodeStrictMsgpack(encodeJsonRequest(JSON.parse(text)));
    expect(decoded.ok && JSON.stringify(decoded.value)).toBe(JSON.stringify(JSON.parse(expected)));
  });
});

describe('answerToJson()', () => {
  it.each<Json>([
    null,
    [true, false, 0, -1, 127, 128, 255, 256, 65_535, 65_536, 4_294_967_295, 4_294_967_296, Number.MAX_SAFE_INTEGER],
    [-32, -33, -128, -129, -32_768, -32_769, -2_147_483_648, -2_147_483_649, Number.MIN_SAFE_INTEGER],
    [1.5, 1e300, 5e-324, 2 ** 53, 1e21],
    ['', 'é', '漢', '🌍', '"\\\n\u0000\u2028', 'x'.repeat(300), 'y'.repeat(70_000)],
    new Array<Json>(20).fill({ a: [] }),
    JSON.parse('{"z":1,"__proto__":{"b":2},"a":{"constructor":null}}'),
  ])('%j keeps values, names and order', (value) => {
    expect(answerToJson(encodeMsgpack(value))).toBe(JSON.stringify(value));
  });

  it('refuses what is no part of an answer', () => {
    expect(() => answerToJson(Uint8Array.of(0xc1))).toThrow(TypeError);
  });
});
