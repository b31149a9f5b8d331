import { parseDefinition } from '@guidon/engine';
import { type ErrorCode, LIMITS } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag } from '../../../support/flag-sets.js';

type Refusal = readonly [what: string, value: unknown, pointer: string, code: ErrorCode];

function issuesOf(parsed: ReturnType<typeof parseDefinition>): readonly (readonly [string, ErrorCode])[] {
  return parsed.ok ? [] : parsed.issues.map(({ pointer, code }) => [pointer, code] as const);
}

const withRule = (rule: object): object => ({
  ...aFlag('f'),
  rules: [{ id: 'r', when: { all: [] }, serve: { variation: 'yes' }, ...rule }],
});
const withClause = (clause: object): object => withRule({ when: clause });
const withValues = (op: string, values: unknown): unknown => withClause({ attribute: 'a', op, values });
const withFlag = (changes: object): unknown => ({ ...aFlag('f'), ...changes });
const repeated = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
const nestedNot = (depth: number): object => (depth === 1 ? { all: [] } : { not: nestedNot(depth - 1) });

const VALIDATION = 'validation-failed';
const LIMIT = 'limit-exceeded';

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

describe('parseDefinition() of rules and conditions', () => {
  it.each(RULE_REFUSALS)('refuses %s', (_, value, pointer, code) => {
    expect(issuesOf(parseDefinition(value))).toContainEqual([pointer, code]);
  });

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
});
