import type { FlagDefinition } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { aFlag } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { fails, serves, table } from './vector-table.js';

const targeted = aFlag('targeted', {
  targets: [
    { contextKind: 'user', variation: 'yes', keys: ['alice', 'ключ', '\ufffd'] },
    { contextKind: 'organization', variation: 'off', keys: ['acme'] },
    { contextKind: 'user', variation: 'off', keys: ['bob', '42'] },
  ],
  rules: [{ id: 'r', when: { all: [] }, serve: { variation: 'no' } }],
});
const target = (variation: string) => serves('targeted', variation, 'TARGETING_MATCH');
const byRule = serves('targeted', 'no', 'TARGETING_MATCH', { ruleId: 'r' });
const both = (user: string, organization: string) => ({
  kind: 'multi',
  user: { targetingKey: user },
  organization: { targetingKey: organization },
});

const targetCases: VectorCase[] = [
  { name: 'the first entry', flag: 'targeted', context: { targetingKey: 'alice' }, expected: target('yes') },
  { name: 'beyond ASCII', flag: 'targeted', context: { targetingKey: 'ключ' }, expected: target('yes') },
  {
    name: 'a lone surrogate is U+FFFD',
    flag: 'targeted',
    context: { targetingKey: '\ud83c' },
    expected: target('yes'),
  },
  { name: 'the last entry', flag: 'targeted', context: { targetingKey: 'bob' }, expected: target('off') },
  { name: 'the decimals of an integer', flag: 'targeted', context: { targetingKey: '42' }, expected: target('off') },
  { name: 'an integer equals no entry', flag: 'targeted', context: { targetingKey: 42 }, expected: byRule },
  { name: 'another case', flag: 'targeted', context: { targetingKey: 'Alice' }, expected: byRule },
  { name: 'empty', flag: 'targeted', context: { targetingKey: '' }, expected: byRule },
  { name: 'no key', flag: 'targeted', context: {}, expected: byRule },
  { name: 'an array', flag: 'targeted', context: { targetingKey: ['alice'] }, expected: byRule },
  { name: 'of another kind', flag: 'targeted', context: { targetingKey: 'acme' }, expected: byRule },
  {
    name: 'of its kind',
    flag: 'targeted',
    context: { kind: 'organization', targetingKey: 'acme' },
    expected: target('off'),
  },
  { name: 'list order decides, first kind', flag: 'targeted', context: both('alice', 'acme'), expected: target('yes') },
  { name: 'list order decides, second kind', flag: 'targeted', context: both('bob', 'acme'), expected: target('off') },
  { name: 'neither kind', flag: 'targeted', context: both('x', 'y'), expected: byRule },
];

const emptyTarget = { contextKind: 'user', variation: 'yes', keys: [] };
const reasonFlags: FlagDefinition[] = [
  aFlag('static'),
  aFlag('is-off', { on: false, rules: [{ id: 'r', when: { all: [] }, serve: { variation: 'yes' } }] }),
  aFlag('off-serves-yes', { on: false, offVariation: 'yes' }),
  aFlag('with-empty-target', { targets: [emptyTarget] }),
  aFlag('with-rule', { rules: [{ id: 'r', when: { any: [] }, serve: { variation: 'yes' } }] }),
  aFlag('with-prerequisite', { prerequisites: [{ flag: 'static', variations: ['no'] }] }),
  aFlag('with-rollout', { fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }] } } }),
  aFlag('future', { requires: ['from-the-future'] }),
];

const reasonCases: VectorCase[] = [
  { name: 'STATIC', flag: 'static', context: {}, expected: serves('static', 'no', 'STATIC') },
  { name: 'DISABLED', flag: 'is-off', context: {}, expected: serves('is-off', 'off', 'DISABLED') },
  {
    name: 'DISABLED with another off variation',
    flag: 'off-serves-yes',
    context: {},
    expected: serves('off-serves-yes', 'yes', 'DISABLED'),
  },
  {
    name: 'DEFAULT: an empty target counts',
    flag: 'with-empty-target',
    context: {},
    expected: serves('with-empty-target', 'no', 'DEFAULT'),
  },
  { name: 'DEFAULT: a rule counts', flag: 'with-rule', context: {}, expected: serves('with-rule', 'no', 'DEFAULT') },
  {
    name: 'DEFAULT: a prerequisite counts',
    flag: 'with-prerequisite',
    context: {},
    expected: serves('with-prerequisite', 'no', 'DEFAULT'),
  },
  {
    name: 'SPLIT even at 100 %',
    flag: 'with-rollout',
    context: { targetingKey: 'u' },
    expected: serves('with-rollout', 'yes', 'SPLIT'),
  },
  { name: 'PARSE_ERROR', flag: 'future', context: {}, expected: fails('future', 'PARSE_ERROR') },
  { name: 'FLAG_NOT_FOUND', flag: 'nowhere', context: {}, expected: fails('nowhere', 'FLAG_NOT_FOUND') },
  { name: 'FLAG_NOT_FOUND: empty', flag: '', context: {}, expected: fails('', 'FLAG_NOT_FOUND') },
  { name: 'FLAG_NOT_FOUND: another case', flag: 'STATIC', context: {}, expected: fails('STATIC', 'FLAG_NOT_FOUND') },
  { name: 'FLAG_NOT_FOUND: inherited', flag: '__proto__', context: {}, expected: fails('__proto__', 'FLAG_NOT_FOUND') },
  {
    name: 'FLAG_NOT_FOUND: longer than a key',
    flag: 'x'.repeat(1000),
    context: {},
    expected: fails('x'.repeat(1000), 'FLAG_NOT_FOUND'),
  },
  { name: 'FLAG_NOT_FOUND: beyond ASCII', flag: 'é漢🌍', context: {}, expected: fails('é漢🌍', 'FLAG_NOT_FOUND') },
];

/** Values come back as written. */
const values: readonly (readonly [name: string, type: FlagDefinition['type'], value: Json])[] = [
  ['true', 'boolean', true],
  ['false', 'boolean', false],
  ['empty-string', 'string', ''],
  ['text', 'string', 'é漢🌍 "\\\n\u0000\u007f'],
  ['zero', 'number', 0],
  ['negative', 'number', -1],
  ['fraction', 'number', 0.1],
  ['int8', 'number', -128],
  ['uint8', 'number', 255],
  ['int16', 'number', -32_768],
  ['uint16', 'number', 65_535],
  ['int32', 'number', -2_147_483_648],
  ['uint32', 'number', 4_294_967_295],
  ['beyond-32-bits', 'number', 4_294_967_296],
  ['beyond-32-bits-negative', 'number', -2_147_483_649],
  ['largest-integer', 'number', 9_007_199_254_740_991],
  ['smallest-integer', 'number', -9_007_199_254_740_991],
  ['two-to-53', 'number', 9_007_199_254_740_992],
  ['huge', 'number', 1.7976931348623157e308],
  ['tiny', 'number', 5e-324],
  ['1e21', 'number', 1e21],
  ['null', 'json', null],
  ['json-false', 'json', false],
  ['empty-array', 'json', []],
  ['empty-object', 'json', {}],
  ['nested', 'json', { z: [1, 2.5, 'x', null, true, { y: {} }], a: { '': 0, 'é漢🌍': -0.5 } }],
  ['proto', 'json', JSON.parse('{"__proto__": {"x": 1}, "constructor": null}')],
  ['long-array', 'json', Array.from({ length: 70_000 / 7 }, (_, index) => index)],
  ['long-text', 'string', 'ä'.repeat(20_000)],
];

const valueFlags = values.map(([name, type, value]) =>
  aFlag(`value-${name}`, {
    type,
    variations: [
      { key: 'v', value },
      { key: 'w', value },
    ],
    offVariation: 'w',
    fallthrough: { variation: 'v' },
  }),
);

export const REASON_TABLES = [
  table('targets', 'Individual targets: first matching entry in list order.', {
    flags: [targeted],
    cases: targetCases,
  }),
  table('reasons', 'Each reason and each error code that a flag alone can give.', {
    flags: reasonFlags,
    cases: reasonCases,
  }),
  table('values', 'Values of every type and size come back as they were written.', {
    flags: valueFlags,
    cases: values.map(([name, , value]) => ({
      name,
      flag: `value-${name}`,
      context: {},
      expected: { flag: `value-${name}`, value, variation: 'v', reason: 'STATIC' },
    })),
  }),
];
