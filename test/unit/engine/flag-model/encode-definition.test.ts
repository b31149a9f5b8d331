import { type Definition, decodeDefinition, encodeDefinition } from '@guidon/engine';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment } from '../../../support/flag-sets.js';

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
const bytesOf = (json: string): Uint8Array => new TextEncoder().encode(json);

/** The same value with the members of every object in reverse order; arrays keep theirs. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .reverse()
      .map(([name, member]) => [name, name === 'value' ? member : reversed(member)]),
  );
}

const key = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,10}$/);
const name = fc.string({ unit: 'binary', maxLength: 12 });
const path = fc.oneof(
  name.filter((value) => value !== '' && !value.startsWith('/')),
  fc.constant('/a~0b/~1/0'),
);
const optional = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }, required: (keyof T)[] = []) =>
  fc.record(model, { requiredKeys: required });

const clause = fc.oneof(
  fc
    .tuple(
      optional({ contextKind: name, negate: fc.boolean() }),
      path,
      fc.oneof(
        fc.record({
          op: fc.constantFrom('in', 'contains', 'endsWithIgnoreCase'),
          values: fc.array(name, { minLength: 1, maxLength: 4 }),
        }),
        fc.record({
          op: fc.constantFrom('lt', 'gte', 'after'),
          values: fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 4 }),
        }),
        fc.record({ op: fc.constant('exists'), values: fc.tuple(fc.boolean()) }),
      ),
    )
    .map(([options, attribute, test]) => ({ attribute: attribute === '@now' ? 'a' : attribute, ...test, ...options })),
  fc.tuple(optional({ negate: fc.boolean() }), fc.array(key, { maxLength: 3 })).map(([options, segment]) => ({
    segment,
    ...options,
  })),
);
const { condition } = fc.letrec((tie) => ({
  condition: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    clause,
    fc.record({ all: fc.array(tie('condition'), { maxLength: 3 }) }),
    fc.record({ any: fc.array(tie('condition'), { maxLength: 3 }) }),
    fc.record({ not: tie('condition') }),
  ),
}));
const rollout = fc
  .tuple(
    optional({
      contextKind: name,
      bucketBy: fc.constantFrom('targetingKey', 'company', '/a/b'),
      hash: fc.constant('murmur3'),
      seed: fc.constantFrom('s', 'a.b', '漢'),
      layer: fc.constant({ key: 'l', from: 5, to: 10 }),
      experiment: key,
    }),
    fc.nat(100_000),
  )
  .map(([options, weight]) => ({
    ...options,
    weights: [
      { variation: 'yes', weight },
      { variation: 'no', weight: 100_000 - weight },
    ],
  }));
const serve = fc.oneof(fc.constant({ variation: 'yes' }), fc.record({ rollout }));
const flag = fc
  .record({
    value: fc.jsonValue({ depthSize: 'small', stringUnit: 'binary' }),
    whens: fc.array(fc.tuple(condition, serve), { maxLength: 4 }),
    fallthrough: serve,
    keys: fc.uniqueArray(
      name.filter((value) => value !== ''),
      { maxLength: 4 },
    ),
    on: fc.boolean(),
  })
  .map(({ value, whens, fallthrough, keys, on }) => ({
    ...aFlag('f', { type: 'json', on, targets: [{ contextKind: 'user', variation: 'yes', keys }] }),
    variations: [
      { key: 'yes', value },
      { key: 'no', value: 0 },
      { key: 'off', value: null },
    ],
    rules: whens.map(([when, served], index) => ({ id: `r${index}`, when, serve: served })),
    fallthrough,
  }));

/** Minus zero is written as 0: JSON.stringify does the same everywhere. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe('encodeDefinition() and decodeDefinition()', () => {
  it('give back any definition, as the same bytes whatever the order of its members', () => {
    fc.assert(
      fc.property(flag, (definition) => {
        const bytes = encodeDefinition(definition as Definition);
        const decoded = decodeDefinition(bytes);
        expect(decoded).toEqual({ ok: true, value: plain(definition) });
        if (!decoded.ok) return;
        expect(encodeDefinition(decoded.value)).toEqual(bytes);
        expect(encodeDefinition(reversed(decoded.value) as Definition)).toEqual(bytes);
      }),
      { numRuns: 300 },
    );
  });

  it.each<Definition>([
    aSegment('s', { rules: [{ when: { all: [] }, rollout: { contextKind: 'a', bucketBy: 'b', weight: 5 } }] }),
    aChunk('s', 'excluded', ['a', 'é'], 'device'),
  ])('give back a $kind', (definition) => {
    const bytes = encodeDefinition(definition);
    expect(decodeDefinition(bytes)).toEqual({ ok: true, value: definition });
    expect(encodeDefinition(reversed(definition) as Definition)).toEqual(bytes);
  });

  it('write what the model names and nothing else', () => {
    const named = {
      ...aFlag('f'),
      rules: [{ id: 'r', name: 'Secret plan', when: { all: [] }, serve: { variation: 'no' } }],
    };
    expect(text(encodeDefinition(named))).toBe(
      '{"kind":"flag","key":"f","type":"string","clientSide":false,"variations":[{"key":"yes","value":"yes"},{"key":"no",' +
        '"value":"no"},{"key":"off","value":"off"}],"on":true,"offVariation":"off","prerequisites":[],"targets":[],"rules":' +
        '[{"id":"r","when":{"all":[]},"serve":{"variation":"no"}}],"fallthrough":{"variation":"no"},"salt":"salt",' +
        '"requires":[]}',
    );
  });

  it.each([
    ['no bytes', new Uint8Array()],
    ['no JSON', bytesOf('{')],
    ['ill-formed UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['an encoded surrogate', Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)],
    ['a byte order mark', bytesOf(`\ufeff${text(encodeDefinition(aFlag('f')))}`)],
    ['brackets too many to nest', bytesOf('['.repeat(1_000_000))],
  ])('refuse %s as malformed-body', (_, bytes) => {
    const parsed = decodeDefinition(bytes);
    expect(parsed.ok ? [] : parsed.issues.map((issue) => issue.code)).toEqual(['malformed-body']);
  });

  it('refuse cut bytes of a definition', () => {
    const bytes = encodeDefinition(aFlag('f'));
    for (let length = 0; length < bytes.length; length++)
      expect(decodeDefinition(bytes.subarray(0, length)).ok).toBe(false);
  });
});
