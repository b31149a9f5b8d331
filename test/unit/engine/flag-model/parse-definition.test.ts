import {
  type Definition,
  type FlagDefinition,
  parseDefinition,
  parseFlagDefinition,
  parseSegmentDefinition,
  parseSegmentKeysDefinition,
  parseSegmentRules,
  parseTargetingKeys,
  type Rollout,
} from '@guidon/engine';
import type { ErrorCode } from '@guidon/protocol';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { aChunk, aFlag, aSegment } from '../../../support/flag-sets.js';

type Refusal = readonly [what: string, value: unknown, pointer: string, code: ErrorCode];

function issuesOf(parsed: ReturnType<typeof parseDefinition>): readonly (readonly [string, ErrorCode])[] {
  return parsed.ok ? [] : parsed.issues.map(({ pointer, code }) => [pointer, code] as const);
}

const without = (value: object, name: string): unknown =>
  Object.fromEntries(Object.entries(value).filter(([member]) => member !== name));
const withRule = (rule: object): object => ({
  ...aFlag('f'),
  rules: [{ id: 'r', when: { all: [] }, serve: { variation: 'yes' }, ...rule }],
});
const withClause = (clause: object): object => withRule({ when: clause });
const withValues = (op: string, values: unknown): unknown => withClause({ attribute: 'a', op, values });
const withRollout = (changes: object): unknown => ({
  ...aFlag('f'),
  fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }], ...changes } },
});
const withFlag = (changes: object): unknown => ({ ...aFlag('f'), ...changes });
const repeated = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
const nested = (depth: number): unknown => (depth === 0 ? 0 : [nested(depth - 1)]);
const jsonValue = (value: unknown): unknown =>
  withFlag({ type: 'json', variations: [...aFlag('f').variations, { key: 'v', value }] });

const VALIDATION = 'validation-failed';
const LIMIT = 'limit-exceeded';

const FLAG_REFUSALS: readonly Refusal[] = [
  ['no object', 5, '/kind', VALIDATION],
  ['an array', [], '/kind', VALIDATION],
  ['an unknown kind', withFlag({ kind: 'toggle' }), '/kind', VALIDATION],
  ['an inherited kind', Object.create({ kind: 'flag' }), '/kind', VALIDATION],
  ...['key', 'type', 'clientSide', 'variations', 'on', 'offVariation', 'prerequisites', 'targets', 'rules'].map(
    (name): Refusal => [`no ${name}`, without(aFlag('f'), name), `/${name}`, VALIDATION],
  ),
  ...['fallthrough', 'salt', 'requires'].map(
    (name): Refusal => [`no ${name}`, without(aFlag('f'), name), `/${name}`, VALIDATION],
  ),
  ['an unknown member', withFlag({ name: 'Flag' }), '/name', VALIDATION],
  ['an unknown member that needs escaping', withFlag({ 'a/b~c': 1 }), '/a~1b~0c', VALIDATION],
  ['an own __proto__', JSON.parse('{"kind":"flag","__proto__":{}}'), '/__proto__', VALIDATION],
  ['an empty key', withFlag({ key: '' }), '/key', VALIDATION],
  ['a key that starts with a dot', withFlag({ key: '.f' }), '/key', VALIDATION],
  ['a key of 129 characters', withFlag({ key: 'k'.repeat(129) }), '/key', VALIDATION],
  ['a key beyond ASCII', withFlag({ key: 'é' }), '/key', VALIDATION],
  ['a key with a line end', withFlag({ key: 'f\n' }), '/key', VALIDATION],
  ['an unknown type', withFlag({ type: 'integer' }), '/type', VALIDATION],
  ['clientSide as a number', withFlag({ clientSide: 1 }), '/clientSide', VALIDATION],
  ['on null', withFlag({ on: null }), '/on', VALIDATION],
  ['a salt with a dot', withFlag({ salt: 'a.b' }), '/salt', VALIDATION],
  ['an empty salt', withFlag({ salt: '' }), '/salt', VALIDATION],
  ['a salt of 65 characters', withFlag({ salt: 's'.repeat(65) }), '/salt', VALIDATION],
  ['a feature in upper case', withFlag({ requires: ['A'] }), '/requires/0', VALIDATION],
  ['33 features', withFlag({ requires: repeated(33, 'a') }), '/requires', LIMIT],
  ['no variation', withFlag({ variations: [] }), '/variations', VALIDATION],
  [
    '65 variations',
    withFlag({ variations: Array.from({ length: 65 }, (_, index) => ({ key: `v${index}`, value: 'x' })) }),
    '/variations',
    LIMIT,
  ],
  [
    'a variation key twice, in another case',
    withFlag({ variations: [...aFlag('f').variations, { key: 'YES', value: 'x' }] }),
    '/variations/3/key',
    VALIDATION,
  ],
  ['a variation without value', withFlag({ variations: [{ key: 'yes' }] }), '/variations/0/value', VALIDATION],
  [
    'a variation with a name',
    withFlag({ variations: [{ key: 'yes', value: 'x', name: 'n' }] }),
    '/variations/0/name',
    VALIDATION,
  ],
  ['a value of another type', withFlag({ type: 'number' }), '/variations/0/value', VALIDATION],
  ['three variations of a boolean', withFlag({ type: 'boolean' }), '/variations/0/value', VALIDATION],
  ['a value NaN', jsonValue(Number.NaN), '/variations/3/value', VALIDATION],
  ['a value Infinity inside', jsonValue({ a: [Infinity] }), '/variations/3/value/a/0', VALIDATION],
  ['a lone surrogate in a value', jsonValue({ a: ['\ud800'] }), '/variations/3/value/a/0', VALIDATION],
  ['a lone surrogate in a name', jsonValue({ '\ud800': 1 }), '/variations/3/value/\ufffd', VALIDATION],
  ['a value undefined inside', jsonValue([undefined]), '/variations/3/value/0', VALIDATION],
  ['a Date', jsonValue(new Date(0)), '/variations/3/value', VALIDATION],
  ['a bigint', jsonValue(5n), '/variations/3/value', VALIDATION],
  ['a value 33 deep', jsonValue(nested(33)), `/variations/3/value${'/0'.repeat(32)}`, LIMIT],
  ['a value 5 000 deep', jsonValue(nested(5_000)), `/variations/3/value${'/0'.repeat(32)}`, LIMIT],
  ['a value of 64 KiB', jsonValue('x'.repeat(65_535)), '/variations/3/value', LIMIT],
  [
    'values of 256 KiB together',
    withFlag({ variations: ['yes', 'no', 'off', 'v', 'w'].map((key) => ({ key, value: 'é'.repeat(30_000) })) }),
    '/variations',
    LIMIT,
  ],
  ['a dangling off variation', withFlag({ offVariation: 'nowhere' }), '/offVariation', 'dangling-reference'],
  [
    'a dangling fallthrough',
    withFlag({ fallthrough: { variation: 'x' } }),
    '/fallthrough/variation',
    'dangling-reference',
  ],
  ['a serve of both', withFlag({ fallthrough: { variation: 'no', rollout: {} } }), '/fallthrough', VALIDATION],
  ['a serve of neither', withFlag({ fallthrough: {} }), '/fallthrough', VALIDATION],
  [
    '33 prerequisites',
    withFlag({ prerequisites: repeated(33, { flag: 'a', variations: ['b'] }) }),
    '/prerequisites',
    LIMIT,
  ],
  [
    'a bad prerequisite key',
    withFlag({ prerequisites: [{ flag: '', variations: ['a'] }] }),
    '/prerequisites/0/flag',
    VALIDATION,
  ],
  [
    'a prerequisite without variations',
    withFlag({ prerequisites: [{ flag: 'a', variations: [] }] }),
    '/prerequisites/0/variations',
    VALIDATION,
  ],
];

const target = { contextKind: 'user', variation: 'yes', keys: ['a'] };
const TARGET_REFUSALS: readonly Refusal[] = [
  [
    'a dangling target',
    withFlag({ targets: [{ ...target, variation: 'x' }] }),
    '/targets/0/variation',
    'dangling-reference',
  ],
  [
    'a target without kind',
    withFlag({ targets: [without(target, 'contextKind')] }),
    '/targets/0/contextKind',
    VALIDATION,
  ],
  ['an empty key', withFlag({ targets: [{ ...target, keys: ['a', ''] }] }), '/targets/0/keys/1', VALIDATION],
  ['a key that is a number', withFlag({ targets: [{ ...target, keys: [5] }] }), '/targets/0/keys/0', VALIDATION],
  [
    'a lone surrogate in a key',
    withFlag({ targets: [{ ...target, keys: ['\udc00'] }] }),
    '/targets/0/keys/0',
    VALIDATION,
  ],
  [
    'a key of 513 bytes',
    withFlag({ targets: [{ ...target, keys: [`${'é'.repeat(256)}x`] }] }),
    '/targets/0/keys/0',
    LIMIT,
  ],
  [
    'a key twice in one entry',
    withFlag({ targets: [{ ...target, keys: ['a', 'a'] }] }),
    '/targets/0/keys/1',
    VALIDATION,
  ],
  [
    'a key twice for one kind',
    withFlag({ targets: [target, { ...target, variation: 'no' }] }),
    '/targets/1/keys/0',
    VALIDATION,
  ],
  ['257 targets', withFlag({ targets: repeated(257, { ...target, keys: [] }) }), '/targets', LIMIT],
  [
    '10 001 keys together',
    withFlag({
      targets: [0, 1].map((half) => ({
        ...target,
        keys: Array.from({ length: 5_001 }, (_, index) => `${half}-${index}`),
      })),
    }),
    '/targets',
    LIMIT,
  ],
];

const ROLLOUT_REFUSALS: readonly Refusal[] = [
  ['no weights', withFlag({ fallthrough: { rollout: {} } }), '/fallthrough/rollout/weights', VALIDATION],
  ['an empty list of weights', withRollout({ weights: [] }), '/fallthrough/rollout/weights', 'bad-weights'],
  [
    'weights of 99 999',
    withRollout({ weights: [{ variation: 'yes', weight: 99_999 }] }),
    '/fallthrough/rollout/weights',
    'bad-weights',
  ],
  [
    'weights of 100 001',
    withRollout({
      weights: [
        { variation: 'yes', weight: 100_000 },
        { variation: 'no', weight: 1 },
      ],
    }),
    '/fallthrough/rollout/weights',
    'bad-weights',
  ],
  [
    'a negative weight',
    withRollout({ weights: [{ variation: 'yes', weight: -1 }] }),
    '/fallthrough/rollout/weights/0/weight',
    VALIDATION,
  ],
  [
    'a fraction',
    withRollout({ weights: [{ variation: 'yes', weight: 0.5 }] }),
    '/fallthrough/rollout/weights/0/weight',
    VALIDATION,
  ],
  [
    'a weight as a string',
    withRollout({ weights: [{ variation: 'yes', weight: '1' }] }),
    '/fallthrough/rollout/weights/0/weight',
    VALIDATION,
  ],
  [
    'a dangling weight',
    withRollout({ weights: [{ variation: 'x', weight: 100_000 }] }),
    '/fallthrough/rollout/weights/0/variation',
    'dangling-reference',
  ],
  [
    '65 weights',
    withRollout({ weights: repeated(65, { variation: 'yes', weight: 0 }) }),
    '/fallthrough/rollout/weights',
    LIMIT,
  ],
  ['kind as bucketBy', withRollout({ bucketBy: 'kind' }), '/fallthrough/rollout/bucketBy', VALIDATION],
  ['/kind as bucketBy', withRollout({ bucketBy: '/kind' }), '/fallthrough/rollout/bucketBy', VALIDATION],
  ['@now as bucketBy', withRollout({ bucketBy: '@now' }), '/fallthrough/rollout/bucketBy', VALIDATION],
  ['a bad pointer as bucketBy', withRollout({ bucketBy: '/~' }), '/fallthrough/rollout/bucketBy', VALIDATION],
  ['an empty seed', withRollout({ seed: '' }), '/fallthrough/rollout/seed', VALIDATION],
  ['a seed like a layer', withRollout({ seed: 'layer:a' }), '/fallthrough/rollout/seed', VALIDATION],
  ['a seed of 129 characters', withRollout({ seed: '🌍'.repeat(129) }), '/fallthrough/rollout/seed', LIMIT],
  ['another hash', withRollout({ hash: 'sha1' }), '/fallthrough/rollout/hash', VALIDATION],
  ['a bad experiment key', withRollout({ experiment: '' }), '/fallthrough/rollout/experiment', VALIDATION],
  ['a layer without key', withRollout({ layer: { from: 0, to: 1 } }), '/fallthrough/rollout/layer/key', VALIDATION],
  [
    'a layer key with a colon',
    withRollout({ layer: { key: 'a:b', from: 0, to: 1 } }),
    '/fallthrough/rollout/layer/key',
    VALIDATION,
  ],
  [
    'a layer that ends before it starts',
    withRollout({ layer: { key: 'l', from: 2, to: 1 } }),
    '/fallthrough/rollout/layer',
    VALIDATION,
  ],
  [
    'a layer beyond 100 000',
    withRollout({ layer: { key: 'l', from: 0, to: 100_001 } }),
    '/fallthrough/rollout/layer/to',
    VALIDATION,
  ],
  [
    'a layer of fractions',
    withRollout({ layer: { key: 'l', from: 0.5, to: 1 } }),
    '/fallthrough/rollout/layer/from',
    VALIDATION,
  ],
];

describe('parseDefinition() of a flag', () => {
  it.each([...FLAG_REFUSALS, ...TARGET_REFUSALS, ...ROLLOUT_REFUSALS])('refuses %s', (_, value, pointer, code) => {
    expect(issuesOf(parseDefinition(value))).toContainEqual([pointer, code]);
  });

  it('refuses a boolean flag without exactly two variations', () => {
    const flag = (...values: boolean[]) => {
      const variations = values.map((value, index) => ({ key: `v${index}`, value }));
      return { ...aFlag('f'), type: 'boolean', variations, offVariation: 'v0', fallthrough: { variation: 'v0' } };
    };
    expect(issuesOf(parseDefinition(flag(true, false)))).toEqual([]);
    expect(issuesOf(parseDefinition(flag(true)))).toContainEqual(['/variations', VALIDATION]);
    expect(issuesOf(parseDefinition(flag(true, false, true)))).toContainEqual(['/variations', VALIDATION]);
  });

  it('names all issues at once, and at most 100', () => {
    const many = issuesOf(
      parseDefinition(withFlag({ key: '', salt: '.', on: 0, fallthrough: { variation: 'x' }, extra: 1 })),
    );
    expect(many.map(([pointer]) => pointer).sort()).toEqual([
      '/extra',
      '/fallthrough/variation',
      '/key',
      '/on',
      '/salt',
    ]);
    expect(issuesOf(parseDefinition(withValues('lt', repeated(10_000, 'x'))))).toHaveLength(100);
  });

  it('still names what else is wrong when the variations do not parse', () => {
    const issues = issuesOf(parseDefinition(withFlag({ variations: 5, offVariation: '', rules: [{}] })));
    expect(issues.map(([pointer]) => pointer)).toEqual([
      '/variations',
      '/offVariation',
      '/rules/0/id',
      '/rules/0/when',
      '/rules/0/serve',
    ]);
  });
});

const FULL: FlagDefinition = aFlag('full.flag_1-x', {
  type: 'json',
  clientSide: true,
  variations: [
    { key: 'yes', value: JSON.parse('{"__proto__":{"a":[1,null,"é🌍"]},"b":-0.5}') },
    { key: 'no', value: null },
    { key: 'off', value: [] },
  ],
  prerequisites: [{ flag: 'other', variations: ['a', 'b'] }],
  targets: [
    { contextKind: 'user', variation: 'yes', keys: ['a', 'ключ'] },
    { contextKind: 'organization', variation: 'no', keys: ['a'] },
    { contextKind: '', variation: 'no', keys: [] },
  ],
  rules: [
    {
      id: 'R_1-a',
      when: {
        all: [
          { any: [{ not: { segment: ['s1', 's2'], negate: true } }] },
          { contextKind: 'device', attribute: '/a~0b/0', op: 'in', values: ['', 0, false], negate: false },
          { attribute: '@now', op: 'after', values: ['2024-01-01T00:00:00Z', 0] },
          { attribute: 'ip', op: 'cidr', values: ['::/0', '10.0.0.0/8', '::ffff:1.2.3.4/96'] },
          { attribute: 'v', op: 'semverGte', values: ['1', '1.2-a+b'] },
          { attribute: 'x', op: 'exists', values: [false] },
          { attribute: 'x', op: 'matches', values: ['', '^a+$'] },
        ],
      },
      serve: {
        rollout: {
          contextKind: 'organization',
          bucketBy: '/account/id',
          weights: [
            { variation: 'yes', weight: 0 },
            { variation: 'no', weight: 100_000 },
            { variation: 'yes', weight: 0 },
          ],
          hash: 'murmur3',
          seed: 'a.seed ключ',
          layer: { key: 'l1', from: 100_000, to: 100_000 },
          experiment: 'exp.1',
        },
      },
    },
  ],
});

describe('parseDefinition() of what is right', () => {
  const definitions: readonly Definition[] = [
    FULL,
    aFlag('f'),
    aSegment('s', { rules: [{ when: { all: [] }, rollout: { contextKind: 'a', bucketBy: 'b', weight: 100_000 } }] }),
    aChunk('s', 'excluded', ['A', 'a', 'é', '\ufffd', '🌍']),
  ];

  it.each(definitions)('answers an equal, fresh value for $kind', (definition) => {
    const parsed = parseDefinition(definition);
    expect(parsed).toEqual({ ok: true, value: definition });
    expect(parsed.ok && parsed.value).not.toBe(definition);
    expect(JSON.stringify(parsed.ok && parsed.value)).toBe(JSON.stringify(definition));
  });

  it('keeps an own __proto__ of a value as a plain member', () => {
    const parsed = parseFlagDefinition(FULL);
    const value = parsed.ok ? parsed.value.variations[0]?.value : undefined;
    expect(Object.keys(value ?? {})).toEqual(['__proto__', 'b']);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });

  it('turns minus zero into zero', () => {
    const parsed = parseFlagDefinition(withValues('in', [-0]));
    expect(parsed.ok && parsed.value.rules[0]?.when).toEqual({ attribute: 'a', op: 'in', values: [0] });
  });

  it('treats an optional member that is undefined as absent', () => {
    const rollout: Rollout = { weights: [{ variation: 'yes', weight: 100_000 }] };
    const parsed = parseFlagDefinition(withRollout({ seed: undefined, layer: undefined }));
    expect(parsed.ok && parsed.value.fallthrough).toStrictEqual({ rollout });
  });

  it('reads a definition that requires an unknown feature as far as its identity', () => {
    const future = { ...FULL, requires: ['from-the-future'], rules: 'in another form', targets: 5, new: true };
    const parsed = parseFlagDefinition(future);
    expect(parsed.ok && parsed.value).toMatchObject({
      key: FULL.key,
      salt: FULL.salt,
      clientSide: true,
      variations: [],
    });
    expect(parseSegmentDefinition({ ...aSegment('s'), requires: ['x'], rules: 5, new: 1 }).ok).toBe(true);
    expect(issuesOf(parseDefinition({ ...future, key: '' }))).toEqual([['/key', VALIDATION]]);
    expect(issuesOf(parseDefinition({ ...future, requires: ['x', 5] }))).toContainEqual(['/requires/1', VALIDATION]);
  });
});

describe('parseSegmentDefinition() and parseSegmentRules()', () => {
  const rule = { when: { all: [] } };
  it.each<Refusal>([
    ['a segment with a name', { ...aSegment('s'), name: 'S' }, '/name', VALIDATION],
    ['a bad key', { ...aSegment('s'), key: 'a b' }, '/key', VALIDATION],
    ['a salt with a dot', { ...aSegment('s'), salt: 'a.b' }, '/salt', VALIDATION],
    ['another kind', { ...aSegment('s'), kind: 'segment-keys' }, '/kind', VALIDATION],
    ['a rule without when', { ...aSegment('s'), rules: [{}] }, '/rules/0/when', VALIDATION],
    ['a bad condition', { ...aSegment('s'), rules: [{ when: { op: 'in' } }] }, '/rules/0/when', VALIDATION],
    [
      'a weight beyond',
      { ...aSegment('s'), rules: [{ ...rule, rollout: { weight: 100_001 } }] },
      '/rules/0/rollout/weight',
      VALIDATION,
    ],
    [
      'a rollout with weights',
      { ...aSegment('s'), rules: [{ ...rule, rollout: { weights: [] } }] },
      '/rules/0/rollout/weights',
      VALIDATION,
    ],
    [
      'bucketBy kind',
      { ...aSegment('s'), rules: [{ ...rule, rollout: { weight: 1, bucketBy: 'kind' } }] },
      '/rules/0/rollout/bucketBy',
      VALIDATION,
    ],
    ['201 rules', { ...aSegment('s'), rules: repeated(201, rule) }, '/rules', LIMIT],
  ])('refuses %s', (_, value, pointer, code) => {
    const parsed = parseSegmentDefinition(value);
    expect(parsed.ok ? [] : parsed.issues.map((issue) => [issue.pointer, issue.code])).toContainEqual([pointer, code]);
  });

  it('parses rules alone, with pointers from the list', () => {
    expect(parseSegmentRules([rule])).toEqual({ ok: true, value: [rule] });
    const parsed = parseSegmentRules([rule, { when: 5 }]);
    expect(parsed.ok ? [] : parsed.issues.map((issue) => issue.pointer)).toEqual(['/1/when']);
  });
});

describe('parseSegmentKeysDefinition()', () => {
  const chunk = aChunk('s', 'included', ['a']);
  it.each<Refusal>([
    ['another list', { ...chunk, list: 'in' }, '/list', VALIDATION],
    ['a prefix of other digits', { ...chunk, prefix: '012' }, '/prefix', VALIDATION],
    ['a prefix of 33 digits', { ...chunk, prefix: '0'.repeat(33) }, '/prefix', VALIDATION],
    ['no keys', { ...chunk, keys: [] }, '/keys', VALIDATION],
    ['keys out of order', { ...chunk, keys: ['b', 'a'] }, '/keys/1', VALIDATION],
    ['UTF-16 order', { ...chunk, keys: ['🌍', '\ufffd'] }, '/keys/1', VALIDATION],
    ['a key twice', { ...chunk, keys: ['a', 'a'] }, '/keys/1', VALIDATION],
    ['an empty key', { ...chunk, keys: [''] }, '/keys/0', VALIDATION],
    [
      '4 097 keys',
      { ...chunk, keys: Array.from({ length: 4_097 }, (_, index) => `k${10_000 + index}`) },
      '/keys',
      LIMIT,
    ],
  ])('refuses %s', (_, value, pointer, code) => {
    const parsed = parseSegmentKeysDefinition(value);
    expect(parsed.ok ? [] : parsed.issues.map((issue) => [issue.pointer, issue.code])).toEqual([[pointer, code]]);
  });
});

describe('parseTargetingKeys()', () => {
  it('keeps order and repeated keys', () => {
    expect(parseTargetingKeys(['b', 'a', 'b'])).toEqual({ ok: true, value: ['b', 'a', 'b'] });
  });

  it('counts UTF-8 bytes', () => {
    expect(parseTargetingKeys(['é'.repeat(256)]).ok).toBe(true);
    expect(parseTargetingKeys([`${'é'.repeat(256)}x`]).ok).toBe(false);
  });

  it('refuses more than a segment may have', () => {
    const parsed = parseTargetingKeys(repeated(1_000_001, 'a'));
    expect(parsed.ok ? [] : parsed.issues.map((issue) => issue.code)).toEqual([LIMIT]);
  });
});

describe('parseDefinition() of anything', () => {
  it('never throws, and what it accepts it accepts again as the same bytes', () => {
    const paths = placesOf(FULL);
    fc.assert(
      fc.property(
        fc.constantFrom(...paths),
        fc.anything({ withBigInt: true, withNullPrototype: true }),
        (path, value) => {
          const parsed = parseDefinition(withPlace(FULL, path, value));
          if (!parsed.ok) expect(parsed.issues.length).toBeGreaterThan(0);
          else expect(parseDefinition(parsed.value)).toEqual(parsed);
        },
      ),
      { numRuns: 2_000 },
    );
  });
});

/** The way to every member and element of a value. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([name, member]) => placesOf(member, [...path, name]))];
}

function withPlace(value: unknown, [name, ...rest]: readonly string[], replacement: unknown): unknown {
  if (name === undefined) return replacement;
  if (Array.isArray(value)) {
    return value.map((element, index) => (String(index) === name ? withPlace(element, rest, replacement) : element));
  }
  return Object.fromEntries(
    Object.entries(value ?? {}).map(([key, member]) => [
      key,
      key === name ? withPlace(member, rest, replacement) : member,
    ]),
  );
}
