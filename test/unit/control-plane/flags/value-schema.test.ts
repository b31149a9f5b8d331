import {
  checkValue,
  checkValueSchema,
  isJsonEqual,
  type ValueSchema,
} from '@guidon/control-plane/flags/value-schema.js';
import type { Json } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';

describe('checkValueSchema()', () => {
  const accepted: Json[] = [
    {},
    { type: 'string', minLength: 1, maxLength: 5 },
    { type: ['integer', 'null'], minimum: -1, maximum: 2.5 },
    { enum: [1, 'a', null, { a: [] }] },
    { const: { deep: [1, 2] } },
    { type: 'array', items: { type: 'object', properties: { a: {} }, required: ['a'], additionalProperties: false } },
    { additionalProperties: { type: 'number' }, title: 't', description: 'd' },
    // `__proto__` and `constructor` are property names like any other.
    JSON.parse('{"properties": {"__proto__": {"type": "string"}, "constructor": {}}}') as Json,
  ];
  it.each(accepted.map((schema) => [schema]))('accepts %j', (schema) => {
    expect(checkValueSchema(schema, '/valueSchema')).toEqual([]);
  });

  const refused: [Json, string][] = [
    [null, '/valueSchema'],
    [true, '/valueSchema'],
    [[], '/valueSchema'],
    [{ $ref: 'http://127.0.0.1/' }, '/valueSchema/$ref'],
    [{ pattern: '(a+)+$' }, '/valueSchema/pattern'],
    [{ anyOf: [{}] }, '/valueSchema/anyOf'],
    [{ type: 'text' }, '/valueSchema/type'],
    [{ type: [] }, '/valueSchema/type'],
    [{ type: ['string', 'string'] }, '/valueSchema/type'],
    [{ enum: 'a' }, '/valueSchema/enum'],
    [{ enum: Array.from({ length: 257 }, (_, index) => index) }, '/valueSchema/enum'],
    [{ required: 'a' }, '/valueSchema/required'],
    [{ required: [1] }, '/valueSchema/required'],
    [{ properties: [] }, '/valueSchema/properties'],
    [{ properties: { 'a/b~': { type: 1 } } }, '/valueSchema/properties/a~1b~0/type'],
    [{ additionalProperties: 'no' }, '/valueSchema/additionalProperties'],
    [{ items: { maxItems: -1 } }, '/valueSchema/items/maxItems'],
    [{ minLength: 1.5 }, '/valueSchema/minLength'],
    [{ minimum: '1' }, '/valueSchema/minimum'],
    [JSON.parse('{"__proto__": {}}') as Json, '/valueSchema/__proto__'],
  ];
  it.each(refused)('refuses %j with its pointer', (schema, pointer) => {
    expect(checkValueSchema(schema, '/valueSchema').map((issue) => issue.pointer)).toEqual([pointer]);
  });

  it('bounds depth, bytes and the number of issues', () => {
    let deep: Json = {};
    for (let depth = 0; depth < 16; depth++) deep = { items: deep };
    expect(checkValueSchema(deep, '')).toHaveLength(1);
    expect(checkValueSchema({ description: 'x'.repeat(33_000) }, '')[0]?.code).toBe('limit-exceeded');
    const wrong = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`x${index}`, 1]));
    expect(checkValueSchema(wrong, '')).toHaveLength(100);
  });
});

describe('checkValue()', () => {
  const cases: [ValueSchema, Json, string[]][] = [
    [{}, null, []],
    [{ type: 'integer' }, 3, []],
    [{ type: 'integer' }, 3.5, ['']],
    [{ type: 'number' }, '3', ['']],
    [{ type: 'object' }, [], ['']],
    [{ type: 'array' }, {}, ['']],
    [{ type: ['string', 'null'] }, null, []],
    [{ type: 'boolean' }, 0, ['']],
    [{ enum: [{ a: 1, b: 2 }] }, { b: 2, a: 1 }, []],
    [{ enum: [[1, 2]] }, [2, 1], ['']],
    [{ const: 0 }, -0, []],
    [{ const: null }, false, ['']],
    [{ minLength: 2, maxLength: 2 }, '🌍🌍', []],
    [{ maxLength: 1 }, 'é漢', ['']],
    [{ maxLength: 1 }, 12_345, []],
    [{ minimum: 1, maximum: 2 }, 0, ['']],
    [{ minimum: 1, maximum: 2 }, 3, ['']],
    [{ minItems: 1 }, [], ['']],
    [{ maxItems: 1, items: { type: 'string' } }, [1, 'b'], ['', '/0']],
    [{ required: ['toString'] }, {}, ['/toString']],
    [{ properties: { a: { type: 'string' } }, additionalProperties: false }, { a: 'x', b: 1 }, ['/b']],
    [{ properties: { a: {} }, additionalProperties: { type: 'number' } }, { a: 'x', 'c/d': 'y' }, ['/c~1d']],
    [{ properties: {}, additionalProperties: false }, JSON.parse('{"constructor": 1}') as Json, ['/constructor']],
  ];
  it.each(cases)('%j with %j', (schema, value, pointers) => {
    expect(checkValueSchema(schema as Json, '')).toEqual([]);
    expect(checkValue(schema, value, '').map((issue) => issue.pointer)).toEqual(pointers);
  });
});

describe('isJsonEqual()', () => {
  it('compares own members, in any order', () => {
    expect(isJsonEqual({ a: [1, { b: null }] }, { a: [1, { b: null }] })).toBe(true);
    expect(isJsonEqual({ a: 1 }, { a: 1, b: null })).toBe(false);
    expect(isJsonEqual({ a: null }, { b: null })).toBe(false);
    expect(isJsonEqual({ valueOf: 1 }, { a: 1 })).toBe(false);
    expect(isJsonEqual([1], { 0: 1 })).toBe(false);
  });
});
