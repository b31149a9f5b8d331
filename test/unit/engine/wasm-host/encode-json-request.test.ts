import { decodeStrictMsgpack, encodeJsonRequest } from '@guidon/engine';
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
