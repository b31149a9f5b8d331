import type { AttributeClause, Result } from '@guidon/engine';
import { aFlag } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { fails, no, ruleWhen, serves, table, yes } from './vector-table.js';

type Expect = (flag: string) => Result;
/** A clause under a flag's name, and the contexts it is asked with. */
type ClauseCases = readonly [
  name: string,
  clause: AttributeClause,
  cases: readonly (readonly [string, unknown, Expect])[],
];

function clauseCases(clauses: readonly ClauseCases[]): { flags: ReturnType<typeof aFlag>[]; cases: VectorCase[] } {
  return {
    flags: clauses.map(([name, clause]) => aFlag(name, ruleWhen(clause))),
    cases: clauses.flatMap(([flag, , cases]) =>
      cases.map(([name, context, expect]) => ({ name: `${flag}: ${name}`, flag, context, expected: expect(flag) })),
    ),
  };
}

const isX = { op: 'in', values: ['x'] } as const;

const paths = clauseCases([
  [
    'plain',
    { attribute: 'a.b', ...isX },
    [
      ['a member of that name', { 'a.b': 'x' }, yes],
      ['a name is not split at dots', { a: { b: 'x' } }, no],
    ],
  ],
  [
    'plain-slash',
    { attribute: 'a/b', ...isX },
    [
      ['a slash inside is part of the name', { 'a/b': 'x' }, yes],
      ['and no pointer', { a: { b: 'x' } }, no],
    ],
  ],
  [
    'plain-tilde',
    { attribute: 'a~1b', ...isX },
    [
      ['escapes are for pointers only', { 'a~1b': 'x' }, yes],
      ['so this is another name', { 'a/b': 'x' }, no],
    ],
  ],
  [
    'pointer',
    { attribute: '/a/b', ...isX },
    [
      ['a nested member', { a: { b: 'x' } }, yes],
      ['a member of another object', { a: { c: 'x' } }, no],
      ['a plain name of that text', { '/a/b': 'x' }, no],
      ['null on the way', { a: null }, no],
      ['a string on the way', { a: 'b' }, no],
      ['an array on the way', { a: [{ b: 'x' }] }, no],
    ],
  ],
  [
    'pointer-escapes',
    { attribute: '/a~1b/c~0d/~01', ...isX },
    [
      ['~1 is a slash and ~0 a tilde, in that order', { 'a/b': { 'c~d': { '~1': 'x' } } }, yes],
      ['not decoded twice', { 'a/b': { 'c~d': { '/': 'x' } } }, no],
    ],
  ],
  [
    'pointer-empty-name',
    { attribute: '/', ...isX },
    [
      ['a member with the empty name', { '': 'x' }, yes],
      ['none', { a: 'x' }, no],
    ],
  ],
  [
    'pointer-empty-inner-name',
    { attribute: '/a//b', ...isX },
    [
      ['an empty name in the middle', { a: { '': { b: 'x' } } }, yes],
      ['is not skipped', { a: { b: 'x' } }, no],
    ],
  ],
  [
    'pointer-index',
    { attribute: '/a/1', ...isX },
    [
      ['an element of an array', { a: ['y', 'x'] }, yes],
      ['another element', { a: ['x', 'y'] }, no],
      ['behind the end', { a: ['x'] }, no],
      ['a member of an object named 1', { a: { 1: 'x' } }, yes],
      ['an array inside matches by its elements', { a: [0, ['y', 'x']] }, yes],
    ],
  ],
  [
    'pointer-leading-zero',
    { attribute: '/a/01', ...isX },
    [
      ['is no index', { a: ['y', 'x'] }, no],
      ['but a name', { a: { '01': 'x' } }, yes],
    ],
  ],
  [
    'pointer-dash',
    { attribute: '/a/-', ...isX },
    [
      ['behind the last element is missing', { a: ['x'] }, no],
      ['but a name', { a: { '-': 'x' } }, yes],
    ],
  ],
  [
    'pointer-large-index',
    { attribute: '/a/4294967296', ...isX },
    [
      ['is not taken modulo 2^32', { a: ['x'] }, no],
      ['is a name', { a: { 4294967296: 'x' } }, yes],
    ],
  ],
  [
    'pointer-length',
    { attribute: '/a/length', op: 'exists', values: [true] },
    [
      ['an array has no own member length', { a: [1] }, no],
      ['nor has a string', { a: 'x' }, no],
      ['an object may', { a: { length: 1 } }, yes],
    ],
  ],
  [
    'proto',
    { attribute: '__proto__', op: 'exists', values: [true] },
    [
      ['is not inherited', {}, no],
      ['is a name like any other', JSON.parse('{"__proto__": "x"}'), yes],
    ],
  ],
  [
    'proto-pointer',
    { attribute: '/__proto__/x', ...isX },
    [
      ['own', JSON.parse('{"__proto__": {"x": "x"}}'), yes],
      ['not inherited', { x: 'x' }, no],
    ],
  ],
  [
    'constructor',
    { attribute: '/constructor/name', op: 'exists', values: [true] },
    [
      ['is not inherited', {}, no],
      ['own', { constructor: { name: 'x' } }, yes],
    ],
  ],
  [
    'toString',
    { attribute: 'toString', op: 'exists', values: [false] },
    [
      ['is not inherited', {}, yes],
      ['own', { toString: 1 }, no],
    ],
  ],
  [
    'non-ascii',
    { attribute: '漢🌍', ...isX },
    [
      ['a name beyond ASCII', { '漢🌍': 'x' }, yes],
      ['another', { '漢🌎': 'x' }, no],
    ],
  ],
  [
    'replaced',
    { attribute: '\ufffd', ...isX },
    [
      ['a lone surrogate in a name is U+FFFD', { '\ud800': 'x' }, yes],
      ['so is another one', { '\udfff': 'x' }, yes],
    ],
  ],
  [
    'targeting-key',
    { attribute: 'targetingKey', op: 'exists', values: [true] },
    [
      ['is an attribute like any other', { targetingKey: 'u' }, yes],
      ['an integer', { targetingKey: 0 }, yes],
      ['empty counts as missing', { targetingKey: '' }, no],
      ['null', { targetingKey: null }, no],
      ['absent', {}, no],
    ],
  ],
  [
    'targeting-key-pointer',
    { attribute: '/targetingKey', op: 'in', values: ['', 'u'] },
    [
      ['by pointer', { targetingKey: 'u' }, yes],
      ['empty is missing, whatever the value', { targetingKey: '' }, no],
    ],
  ],
  [
    'inner-targeting-key',
    { attribute: '/a/targetingKey', op: 'in', values: [''] },
    [['only the kind’s own one is missing when empty', { a: { targetingKey: '' } }, yes]],
  ],
]);

const kinds = clauseCases([
  [
    'default-kind',
    { attribute: 'a', ...isX },
    [
      ['a context without kind is a user', { a: 'x' }, yes],
      ['kind null is absent', { kind: null, a: 'x' }, yes],
      ['kind user', { kind: 'user', a: 'x' }, yes],
      ['a clause without kind is about the user, not about the only kind', { kind: 'organization', a: 'x' }, no],
      ['user in a multi context', { kind: 'multi', user: { a: 'x' } }, yes],
      ['user by another kind', { kind: 'multi', organization: { a: 'x' } }, no],
      ['without kind multi a member user is plain', { user: { a: 'x' } }, no],
      ['members beside the kinds are ignored', { kind: 'multi', a: 'x', user: {} }, no],
      ['kind Multi is a kind of that name', { kind: 'Multi', user: { a: 'x' } }, no],
      ['a multi context with no kind is valid', { kind: 'multi' }, no],
      ['a kind that is an array is no kind', { kind: 'multi', user: [{ a: 'x' }] }, no],
      ['a kind that is null is no kind', { kind: 'multi', user: null }, no],
      ['an inner kind is ignored', { kind: 'multi', user: { kind: 'organization', a: 'x' } }, yes],
    ],
  ],
  [
    'user-member',
    { attribute: '/user/a', ...isX },
    [
      ['a plain member named user', { user: { a: 'x' } }, yes],
      ['not the kind', { kind: 'multi', user: { a: 'x' } }, no],
    ],
  ],
  [
    'organization',
    { contextKind: 'organization', attribute: 'a', ...isX },
    [
      ['a single kind', { kind: 'organization', a: 'x' }, yes],
      ['one of several', { kind: 'multi', user: { a: 'y' }, organization: { a: 'x' } }, yes],
      ['another kind', { kind: 'user', a: 'x' }, no],
      ['no kind', { a: 'x' }, no],
    ],
  ],
  [
    'organization-not',
    { contextKind: 'organization', attribute: 'a', ...isX, negate: true },
    [
      ['a missing kind is false, negated or not', { a: 'y' }, no],
      ['another value', { kind: 'organization', a: 'y' }, yes],
      ['a missing attribute is false too', { kind: 'organization' }, no],
    ],
  ],
  [
    'organization-absent',
    { contextKind: 'organization', attribute: 'a', op: 'exists', values: [false] },
    [
      ['with a missing kind the attribute does not exist', { a: 'x' }, yes],
      ['with the kind and without the attribute', { kind: 'organization' }, yes],
      ['with both', { kind: 'organization', a: 0 }, no],
    ],
  ],
  [
    'odd-kind',
    { contextKind: '__proto__', attribute: 'a', ...isX },
    [
      ['any kind name is allowed', { kind: '__proto__', a: 'x' }, yes],
      ['in a multi context too', JSON.parse('{"kind": "multi", "__proto__": {"a": "x"}}'), yes],
      ['not inherited', { kind: 'multi', user: { a: 'x' } }, no],
    ],
  ],
  [
    'empty-kind',
    { contextKind: '', attribute: 'a', ...isX },
    [['a kind with the empty name, in a multi context', { kind: 'multi', '': { a: 'x' } }, yes]],
  ],
  [
    'non-ascii-kind',
    { contextKind: 'Gerät', attribute: 'a', ...isX },
    [
      ['beyond ASCII', { kind: 'Gerät', a: 'x' }, yes],
      ['no normalisation', { kind: 'Gera\u0308t', a: 'x' }, no],
    ],
  ],
  [
    'kind-list',
    { attribute: 'kind', op: 'in', values: ['organization'] },
    [
      ['the single kind', { kind: 'organization' }, yes],
      ['the default kind', { a: 'x' }, no],
      ['one of several', { kind: 'multi', device: {}, organization: {} }, yes],
      ['multi itself is none', { kind: 'multi', user: {} }, no],
      ['an inner kind is ignored', { kind: 'multi', user: { kind: 'organization' } }, no],
      ['a member that is no object is no kind', { kind: 'multi', organization: 'x' }, no],
    ],
  ],
  [
    'kind-list-user',
    { attribute: '/kind', op: 'startsWith', values: ['us'] },
    [
      ['by pointer, the default kind', {}, yes],
      ['kind null', { kind: null }, yes],
      ['another', { kind: 'organization' }, no],
    ],
  ],
  [
    'kind-list-not',
    { attribute: 'kind', op: 'in', values: ['user'], negate: true },
    [
      ['no kind at all is an empty list, which is there', { kind: 'multi' }, yes],
      ['user', { kind: 'user' }, no],
      ['user among others', { kind: 'multi', device: {}, user: {} }, no],
      ['another', { kind: 'device' }, yes],
    ],
  ],
  [
    'kind-list-of-another',
    { contextKind: 'organization', attribute: 'kind', op: 'in', values: ['user'] },
    [['the kinds belong to the whole context', { targetingKey: 'u' }, yes]],
  ],
  [
    'kind-below',
    { attribute: '/kind/0', op: 'exists', values: [true] },
    [
      ['below kind is nothing', { kind: 'user' }, no],
      ['not even in an inner kind', { kind: 'multi', user: { kind: ['x'] } }, no],
    ],
  ],
]);

const invalid = (flag: string): Result => fails(flag, 'INVALID_CONTEXT');
const deep = (depth: number): unknown => (depth === 1 ? {} : { a: deep(depth - 1) });
const deepArray = (depth: number): unknown => (depth === 0 ? 0 : [deepArray(depth - 1)]);
const wide = (count: number): Record<string, number> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`m${index}`, index]));
const plainNo = (flag: string): Result => serves(flag, 'no', 'STATIC');

const contexts: readonly (readonly [string, unknown, Expect])[] = [
  ['an empty object', {}, plainNo],
  ['null', null, invalid],
  ['a string', 'user-1', invalid],
  ['a number', 0, invalid],
  ['a boolean', true, invalid],
  ['an array', [], invalid],
  ['kind is empty', { kind: '' }, invalid],
  ['kind is a number', { kind: 0 }, invalid],
  ['kind is a boolean', { kind: false }, invalid],
  ['kind is an array', { kind: ['user'] }, invalid],
  ['kind is an object', { kind: {} }, invalid],
  ['kind is null', { kind: null }, plainNo],
  ['depth 16 of objects', deep(16), plainNo],
  ['depth 17 of objects', deep(17), invalid],
  ['depth 16 with arrays', { a: deepArray(15) }, plainNo],
  ['depth 17 with arrays', { a: deepArray(16) }, invalid],
  ['512 attributes', wide(512), plainNo],
  ['513 attributes', wide(513), invalid],
  [
    '512 attributes over kinds and levels',
    { kind: 'multi', user: { ...wide(506), a: { b: 1, c: 2 } }, d: {} },
    plainNo,
  ],
  [
    '513 attributes over kinds and levels',
    { kind: 'multi', user: { ...wide(507), a: { b: 1, c: 2 } }, d: {} },
    invalid,
  ],
  ['elements of arrays are no attributes', { a: Array.from({ length: 1000 }, () => 1) }, plainNo],
];

const contextCases: VectorCase[] = [
  ...contexts.map(([name, context, expect]) => ({ name, flag: 'static', context, expected: expect('static') })),
  { name: 'invalid before unknown', flag: 'nowhere', context: 1, expected: fails('nowhere', 'INVALID_CONTEXT') },
  { name: 'invalid before off', flag: 'is-off', context: [], expected: fails('is-off', 'INVALID_CONTEXT') },
  { name: 'invalid before requires', flag: 'future', context: [], expected: fails('future', 'INVALID_CONTEXT') },
  {
    name: 'invalid before visibility',
    flag: 'static',
    context: [],
    clientSideOnly: true,
    expected: fails('static', 'INVALID_CONTEXT'),
  },
];

const nowTable = table('now', '@now is the time of the evaluation, whatever the context holds.', {
  flags: [
    aFlag('from-2024', ruleWhen({ attribute: '@now', op: 'after', values: ['2024-01-01T00:00:00Z'] })),
    aFlag('until-2024', ruleWhen({ attribute: '@now', op: 'before', values: [1704067200000] })),
    aFlag('not-until', ruleWhen({ attribute: '@now', op: 'before', values: [1704067200000], negate: true })),
    aFlag('other-kind', ruleWhen({ contextKind: 'device', attribute: '@now', op: 'after', values: [0] })),
    aFlag('pointer', ruleWhen({ attribute: '/@now', op: 'after', values: [0] })),
  ],
  cases: [
    { name: 'one ms after', flag: 'from-2024', context: {}, now: 1704067200001, expected: yes('from-2024') },
    { name: 'the instant itself', flag: 'from-2024', context: {}, now: 1704067200000, expected: no('from-2024') },
    { name: 'one ms before', flag: 'until-2024', context: {}, now: 1704067199999, expected: yes('until-2024') },
    { name: 'no longer before', flag: 'until-2024', context: {}, now: 1704067200000, expected: no('until-2024') },
    { name: 'the epoch', flag: 'until-2024', context: {}, expected: yes('until-2024') },
    { name: 'negated', flag: 'not-until', context: {}, now: 1704067200000, expected: yes('not-until') },
    { name: 'negated before', flag: 'not-until', context: {}, now: 5, expected: no('not-until') },
    {
      name: 'hides an attribute of that name',
      flag: 'from-2024',
      context: { '@now': '2025-01-01T00:00:00Z' },
      now: 1,
      expected: no('from-2024'),
    },
    { name: 'is there for a kind that is not', flag: 'other-kind', context: {}, now: 1, expected: yes('other-kind') },
    { name: 'a pointer means the member', flag: 'pointer', context: { '@now': 5 }, expected: yes('pointer') },
    { name: 'which may be missing', flag: 'pointer', context: {}, now: 5, expected: no('pointer') },
  ],
});

export const ATTRIBUTE_TABLES = [
  table('paths', 'Attribute names and JSON pointers; own members only.', paths),
  table('kinds', 'Single and multi contexts, the default kind, the list of kinds.', kinds),
  table('contexts', 'Contexts that are not valid answer INVALID_CONTEXT for every flag, before anything else.', {
    flags: [aFlag('static'), aFlag('is-off', { on: false }), aFlag('future', { requires: ['from-the-future'] })],
    cases: contextCases,
  }),
  nowTable,
];
