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
import { type ErrorCode, LIMITS } from '@guidon/protocol';
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
const nestedNot = (depth: number): object => (depth === 1 ? { all: [] } : { not: nestedNot(depth - 1) });
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

const RULE_REFUSALS: readonly Refusal[] = [
  [
    'a rule without id',
    withFlag({ rules: [{ when: { all: [] }, serve: { variation: 'no' } }] }),
    '/rules/0/id',
    VALIDATION,
  ],
  ['a rule id with a dot', withRule({ id: 'a.b' }), '/rules/0/id', VALIDATION],
  ['a name in a definition', withRule({ name: 'Rule' }), '/rules/0/name', VALIDATION],
  [
    'a rule id twice',
    withFlag({ rules: repeated(2, { id: 'r', when: { all: [] }, serve: { variation: 'no' } }) }),
    '/rules/1/id',
    VALIDATION,
  ],
  [
    '201 rules',
    withFlag({
      rules: Array.from({ length: 201 }, (_, index) => ({
        id: `r${index}`,
        when: { all: [] },
        serve: { variation: 'no' },
      })),
    }),
    '/rules',
    LIMIT,
  ],
  ['a condition of two shapes', withClause({ all: [], any: [] }), '/rules/0/when', VALIDATION],
  ['an empty condition', withClause({}), '/rules/0/when', VALIDATION],
  ['a condition that is no object', withClause([]), '/rules/0/when', VALIDATION],
  ['all of no list', withClause({ all: {} }), '/rules/0/when/all', VALIDATION],
  ['a bad condition inside', withClause({ all: [{ any: [{ not: 5 }] }] }), '/rules/0/when/all/0/any/0/not', VALIDATION],
  ['an unknown member of a group', withClause({ all: [], id: 1 }), '/rules/0/when/id', VALIDATION],
  ['a condition 9 deep', withClause(nestedNot(9)), `/rules/0/when${'/not'.repeat(8)}`, LIMIT],
  ['a condition 5 000 deep', withClause(nestedNot(5_000)), `/rules/0/when${'/not'.repeat(8)}`, LIMIT],
  ['51 clauses', withClause({ all: repeated(51, { segment: [] }) }), '/rules/0/when', LIMIT],
  ['257 nodes', withClause({ all: repeated(256, { all: [] }) }), '/rules/0/when', LIMIT],
  ['a bad segment key', withClause({ segment: ['a', '-'] }), '/rules/0/when/segment/1', VALIDATION],
  ['101 segments', withClause({ segment: repeated(101, 'a') }), '/rules/0/when/segment', LIMIT],
  ['negate as a string', withClause({ segment: [], negate: 'true' }), '/rules/0/when/negate', VALIDATION],
  ['a segment clause with op', withClause({ segment: [], op: 'in' }), '/rules/0/when/op', VALIDATION],
  ['an unknown operator', withValues('equals', ['a']), '/rules/0/when/op', VALIDATION],
  ['an inherited operator', withValues('constructor', ['a']), '/rules/0/when/op', VALIDATION],
  ['an empty path', withClause({ attribute: '', op: 'in', values: ['a'] }), '/rules/0/when/attribute', VALIDATION],
  ['a bad escape', withClause({ attribute: '/a~2', op: 'in', values: ['a'] }), '/rules/0/when/attribute', VALIDATION],
  [
    'a tilde at the end',
    withClause({ attribute: '/a~', op: 'in', values: ['a'] }),
    '/rules/0/when/attribute',
    VALIDATION,
  ],
  [
    'a lone surrogate in a path',
    withClause({ attribute: '\ud800', op: 'in', values: ['a'] }),
    '/rules/0/when/attribute',
    VALIDATION,
  ],
  [
    'a path of 32 KiB',
    withClause({ attribute: 'a'.repeat(LIMITS.clauseStringBytes + 1), op: 'in', values: ['a'] }),
    '/rules/0/when/attribute',
    LIMIT,
  ],
  ['@now with in', withClause({ attribute: '@now', op: 'in', values: [1] }), '/rules/0/when/op', VALIDATION],
  ['@now with exists', withClause({ attribute: '@now', op: 'exists', values: [true] }), '/rules/0/when/op', VALIDATION],
  [
    'a kind that is a number',
    withClause({ contextKind: 5, attribute: 'a', op: 'in', values: [1] }),
    '/rules/0/when/contextKind',
    VALIDATION,
  ],
  ['no values', withClause({ attribute: 'a', op: 'in' }), '/rules/0/when/values', VALIDATION],
  ['10 001 values', withValues('in', repeated(10_001, 1)), '/rules/0/when/values', LIMIT],
];

/** Operators and values that each refuses, besides the empty list. */
const VALUE_REFUSALS: readonly (readonly [op: string, values: readonly unknown[]])[] = [
  ['in', [null, [], {}, Number.NaN, Number.POSITIVE_INFINITY, '\ud800', undefined]],
  ['startsWith', [5, null, true, ['a'], '\udfff']],
  ['endsWith', [5]],
  ['contains', [{}]],
  ['startsWithIgnoreCase', [5]],
  ['endsWithIgnoreCase', [null]],
  ['containsIgnoreCase', [false]],
  ['lt', ['5', Number.NaN, Number.NEGATIVE_INFINITY, null, true]],
  ['lte', ['5']],
  ['gt', [Number.POSITIVE_INFINITY]],
  ['gte', [[]]],
  ['before', ['2024-01-01', '2024-02-30T00:00:00Z', Number.NaN, '0', true, null]],
  ['after', ['2024-01-01T00:00:00', '2024-01-01T00:00:60Z']],
  ['semverEq', ['v1.0.0', '1.0.0.0', '', 1, '01.0.0']],
  ['semverLt', ['a']],
  ['semverLte', ['1.0.0-']],
  ['semverGt', ['1..0']],
  ['semverGte', [null]],
  ['cidr', ['10.0.0.0/33', '10.0.0/8', '::/129', '10.0.0.0/08', '10.0.0.0/', 'fe80::1%eth0', 5, '::ffff:1.2.3.4/-1']],
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
  it.each([...FLAG_REFUSALS, ...TARGET_REFUSALS, ...RULE_REFUSALS, ...ROLLOUT_REFUSALS])(
    'refuses %s',
    (_, value, pointer, code) => {
      expect(issuesOf(parseDefinition(value))).toContainEqual([pointer, code]);
    },
  );

  it.each(VALUE_REFUSALS)('refuses values that %s does not take', (op, values) => {
    expect(issuesOf(parseDefinition(withValues(op, values)))).toEqual(
      values.map((_, index) => [`/rules/0/when/values/${index}`, VALIDATION]),
    );
    expect(issuesOf(parseDefinition(withValues(op, [])))).toEqual([['/rules/0/when/values', VALIDATION]]);
  });

  it.each([[[]], [[true, true]], [[1]], [['true']], [[null]]])('refuses exists %j', (values) => {
    expect(issuesOf(parseDefinition(withValues('exists', values)))).toEqual([['/rules/0/when/values', VALIDATION]]);
  });

  // Backreferences, lookaround and repetitions that multiply: what RE2 does not do in linear time (G15, I22).
  it.each([
    '(a',
    '(a)\\1',
    '(?=a)',
    '(?<=a)b',
    'a{1001}',
    '(((a{100}){100}){100})',
    '(a{100}b?){30}(c{100}d?){30}',
    'x'.repeat(257),
    '\\C',
  ])('refuses the pattern %s', (pattern) => {
    expect(issuesOf(parseDefinition(withValues('matches', [pattern])))).toEqual([
      ['/rules/0/when/values/0', 'unsafe-regex'],
    ]);
  });

  it('refuses more regexes than a flag may have', () => {
    const clauses = (count: number, values: readonly string[]) =>
      withClause({ any: repeated(count, { attribute: 'a', op: 'matches', values }) });
    expect(issuesOf(parseDefinition(clauses(20, ['a'])))).toEqual([]);
    expect(issuesOf(parseDefinition(clauses(21, ['a'])))).toEqual([['', LIMIT]]);
    expect(issuesOf(parseDefinition(clauses(20, repeated(11, 'a'))))).toEqual([['', LIMIT]]);
    expect(issuesOf(parseDefinition(clauses(1, repeated(201, 'a'))))).toEqual([['/rules/0/when/any/0/values', LIMIT]]);
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
