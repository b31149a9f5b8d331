import { canonicalText, nameOf } from '@guidon/browser-sdk/context-text.js';
import { expect, it } from 'vitest';

it('canonicalText() is the same for equal contexts and for no others', () => {
  const context = { targetingKey: 'é漢🌍', b: { y: 1, x: [{ d: 1, c: null }] }, none: undefined };
  expect(canonicalText(context)).toBe('{"b":{"x":[{"c":null,"d":1}],"y":1},"targetingKey":"é漢🌍"}');
  const other = { b: { x: [{ c: null, d: 1 }], y: 1 }, targetingKey: 'é漢🌍' };
  expect(canonicalText(other)).toBe(canonicalText(context));
  expect(canonicalText({ a: [1, 2] })).not.toBe(canonicalText({ a: [2, 1] }));
  expect(JSON.parse(canonicalText(JSON.parse('{"__proto__": {"b": 1, "a": 2}}')))).toEqual(
    JSON.parse('{"__proto__": {"a": 2, "b": 1}}'),
  );
});

it('nameOf() gives 100 000 similar texts a name each', () => {
  const names = new Set(Array.from({ length: 100_000 }, (_, index) => nameOf(`{"targetingKey":"user-${index}"}`)));
  expect(names.size).toBe(100_000);
  for (const name of [nameOf(''), nameOf('a'), nameOf('🌍')]) expect(name).toMatch(/^[0-9a-f]{16}$/);
  // Each half alone tells them apart as well as 32 bits can: about one pair in 100 000 texts is the same by chance.
  for (const half of [0, 8])
    expect(new Set([...names].map((name) => name.slice(half, half + 8))).size).toBeGreaterThan(99_980);
});
