import { applyJsonPatch, type PatchOperation } from '@guidon/control-plane/admin-api/json-patch.js';
import { mergePatch } from '@guidon/control-plane/admin-api/patch.js';
import type { Json } from '@guidon/protocol';
import { describe, expect, test } from 'vitest';

const parse = (text: string): Json => JSON.parse(text);

describe('applyJsonPatch()', () => {
  // Document, operations, result; the examples of RFC 6902 appendix A and the edges around them.
  const cases: [string, string, string][] = [
    ['{"foo":"bar"}', '[{"op":"add","path":"/baz","value":"qux"}]', '{"foo":"bar","baz":"qux"}'],
    ['{"foo":["bar","baz"]}', '[{"op":"add","path":"/foo/1","value":"qux"}]', '{"foo":["bar","qux","baz"]}'],
    ['{"foo":["a"]}', '[{"op":"add","path":"/foo/-","value":["b"]}]', '{"foo":["a",["b"]]}'],
    ['{"foo":["a"]}', '[{"op":"add","path":"/foo/1","value":"b"}]', '{"foo":["a","b"]}'],
    ['{"baz":1,"foo":2}', '[{"op":"remove","path":"/baz"}]', '{"foo":2}'],
    ['{"foo":[1,2,3]}', '[{"op":"remove","path":"/foo/1"}]', '{"foo":[1,3]}'],
    ['{"a":1}', '[{"op":"replace","path":"/a","value":null}]', '{"a":null}'],
    ['[1,2,3]', '[{"op":"replace","path":"/0","value":9}]', '[9,2,3]'],
    ['{"a":1}', '[{"op":"replace","path":"","value":[]}]', '[]'],
    ['{"a":{"b":1},"c":{}}', '[{"op":"move","from":"/a/b","path":"/c/d"}]', '{"a":{},"c":{"d":1}}'],
    ['{"a":[1,2,3,4]}', '[{"op":"move","from":"/a/1","path":"/a/3"}]', '{"a":[1,3,4,2]}'],
    [
      '{"a":[1]}',
      '[{"op":"copy","from":"/a","path":"/b"},{"op":"add","path":"/b/-","value":2}]',
      '{"a":[1],"b":[1,2]}',
    ],
    [
      '{"/":9,"~1":10}',
      '[{"op":"test","path":"/~01","value":10},{"op":"replace","path":"/~1","value":0}]',
      '{"/":0,"~1":10}',
    ],
    ['{"a":{"b":[1,{"c":0}]}}', '[{"op":"test","path":"/a","value":{"b":[1,{"c":0}]}}]', '{"a":{"b":[1,{"c":0}]}}'],
    ['{}', '[{"op":"add","path":"/__proto__","value":{"x":1}}]', '{"__proto__":{"x":1}}'],
    ['{"":1}', '[{"op":"replace","path":"/","value":2}]', '{"":2}'],
  ];
  test.each(cases)('%s %s', (document, operations, result) => {
    const before = parse(document);
    expect(JSON.stringify(applyJsonPatch(before, JSON.parse(operations)))).toBe(result);
    expect(JSON.stringify(before)).toBe(document);
  });

  const refused: [string, string][] = [
    ['{}', '{"op":"remove","path":"/a"}'],
    ['{}', '{"op":"replace","path":"/a","value":1}'],
    ['{}', '{"op":"add","path":"/a/b","value":1}'],
    ['{"a":[]}', '{"op":"add","path":"/a/1","value":1}'],
    ['{"a":[1]}', '{"op":"add","path":"/a/01","value":1}'],
    ['{"a":[1]}', '{"op":"add","path":"/a/-1","value":1}'],
    ['{"a":[1]}', '{"op":"remove","path":"/a/-"}'],
    ['{"a":[1]}', '{"op":"remove","path":"/a/length"}'],
    ['{"a":"text"}', '{"op":"add","path":"/a/0","value":1}'],
    ['{"a":{"b":1}}', '{"op":"move","from":"/a","path":"/a/b/c"}'],
    ['{}', '{"op":"copy","from":"/constructor","path":"/b"}'],
    ['{}', '{"op":"move","path":"/b"}'],
    ['{}', '{"op":"add","path":"a","value":1}'],
    ['{}', '{"op":"add","path":"/a~2","value":1}'],
    ['{}', '{"op":"add","path":"/a"}'],
    ['{}', '{"op":"remove","path":""}'],
  ];
  test.each(refused)('refuses on %s: %s', (document, operation) => {
    const operations = [JSON.parse(operation) as PatchOperation];
    expect(() => applyJsonPatch(parse(document), operations)).toThrowError(
      expect.objectContaining({ code: 'validation-failed', issues: [expect.objectContaining({ pointer: '/0' })] }),
    );
  });

  test('a test that does not hold is a conflict', () => {
    for (const value of [1, '1', null, [1], { a: 1 }]) {
      const operation = { op: 'test', path: '/a', value } as const;
      const run = () => applyJsonPatch({ a: true }, [operation]);
      expect(run).toThrowError(expect.objectContaining({ code: 'conflict' }));
    }
  });
});

describe('mergePatch()', () => {
  // RFC 7396 appendix A.
  test.each([
    ['{"a":"b"}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'],
    ['{"a":"b"}', '{"a":null}', '{}'],
    ['{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'],
    ['{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'],
    ['{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'],
    ['{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'],
    ['{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'],
    ['["a","b"]', '["c","d"]', '["c","d"]'],
    ['{"e":null}', '{"a":1}', '{"e":null,"a":1}'],
    ['[1,2]', '{"a":"b","c":null}', '{"a":"b"}'],
    ['{}', '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'],
    ['{"a":1}', '{"__proto__":{"x":1}}', '{"a":1,"__proto__":{"x":1}}'],
  ])('%s with %s', (target, patch, result) => {
    expect(JSON.stringify(mergePatch(parse(target), parse(patch)))).toBe(result);
    expect(Object.hasOwn(Object.prototype, 'x')).toBe(false);
  });
});
