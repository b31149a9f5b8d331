import { asJson } from '@guidon/control-plane/flags/as-json.js';
import { describe, expect, it } from 'vitest';

describe('asJson', () => {
  it('answers the very view when it is JSON already', () => {
    const view = { a: [1, { b: null, c: 'x' }], d: false };
    expect(asJson(view)).toBe(view);
  });

  it('leaves out members that are undefined, however deep, and touches nothing of the view', () => {
    const view = Object.freeze({ a: 1, b: undefined, c: Object.freeze([{ d: undefined, e: [undefined, 2] }]) });
    const json = asJson(view);
    expect(json).toStrictEqual(JSON.parse(JSON.stringify(view)));
    expect(Object.keys(json ?? {})).toEqual(['a', 'c']);
    expect(view.c[0]).toHaveProperty('e');
  });

  it('keeps a member called __proto__ a member, copied or not (M16)', () => {
    const view: unknown = JSON.parse('{"__proto__":{"polluted":true},"b":1}');
    expect(asJson(view)).toBe(view);
    const copied = asJson({ inner: view, gone: undefined });
    expect(JSON.stringify(copied)).toBe('{"inner":{"__proto__":{"polluted":true},"b":1}}');
    expect(Object.hasOwn({}, 'polluted')).toBe(false);
  });

  it('makes null of what is not there at all', () => {
    expect(asJson(undefined)).toBe(null);
    expect(asJson([undefined])).toStrictEqual([null]);
  });
});
