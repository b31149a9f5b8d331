import { ABSENT, type ClauseTable, clauseTable, commonRows } from './clause-table.js';

/** Kelvin sign, folds to k. */
const KELVIN = '\u212a';
/** Long s, folds to s. */
const LONG_S = '\u017f';
const REPLACED = '\ufffd';

const inClauses: ClauseTable[] = [
  {
    name: 'in-strings',
    op: 'in',
    values: ['abc', '', 'é', '🌍', REPLACED, '5', 'true'],
    rows: [
      ...commonRows('abc'),
      ['an equal string', 'abc', 'match'],
      ['the empty string', '', 'match'],
      ['another case', 'ABC', 'differs'],
      ['a prefix', 'ab', 'differs'],
      ['non-ASCII', 'é', 'match'],
      ['the same letter in two code points: no normalisation', 'e\u0301', 'differs'],
      ['beyond the BMP', '🌍', 'match'],
      ['another character beyond the BMP', '🌎', 'differs'],
      ['a lone surrogate, which is U+FFFD', '\ud800', 'match'],
      ['a lone low surrogate', '\udc00', 'match'],
      ['two lone surrogates', '\udc00\ud800', 'differs'],
      ['the number 5: no coercion', 5, 'differs'],
      ['zero', 0, 'differs'],
      ['an element beyond the BMP', ['x', '🌍'], 'match'],
    ],
  },
  {
    name: 'in-numbers',
    op: 'in',
    values: [5, 0, 1.5, -3, 9007199254740991, 9007199254740992, 1e21],
    rows: [
      ...commonRows(5),
      ['an equal number', 5, 'match'],
      ['its decimals: no coercion', '5', 'differs'],
      ['the empty string', '', 'differs'],
      ['zero', 0, 'match'],
      ['minus zero', -0, 'match'],
      ['a fraction', 1.5, 'match'],
      ['a close fraction', 1.5000000000000002, 'differs'],
      ['a negative', -3, 'match'],
      ['2^53 - 1', 9007199254740991, 'match'],
      ['2^53', 9007199254740992, 'match'],
      ['2^53 - 2', 9007199254740990, 'differs'],
      ['1e21', 1e21, 'match'],
      ['another', 6, 'differs'],
    ],
  },
  {
    name: 'in-booleans',
    op: 'in',
    values: [false],
    rows: [
      ['absent', ABSENT, 'missing'],
      ['null', null, 'missing'],
      ['false', false, 'match'],
      ['true', true, 'differs'],
      ['zero', 0, 'differs'],
      ['the empty string', '', 'differs'],
      ['its name', 'false', 'differs'],
      ['NaN', Number.NaN, 'differs'],
      ['an empty array', [], 'differs'],
      ['an element', [0, false], 'match'],
      ['the other element', [true], 'differs'],
      ['a null element', [null], 'differs'],
    ],
  },
  {
    name: 'in-mixed',
    op: 'in',
    values: ['x', 1, true],
    rows: [
      ['the string', 'x', 'match'],
      ['the number', 1, 'match'],
      ['the boolean', true, 'match'],
      ['the number as string', '1', 'differs'],
      ['the boolean as string', 'true', 'differs'],
      ['false', false, 'differs'],
      ['an array with the number', ['1', 1], 'match'],
    ],
  },
];

const startsWith: ClauseTable = {
  name: 'startsWith',
  op: 'startsWith',
  values: ['zz', 'abc', 'é'],
  rows: [
    ...commonRows('abcd'),
    ['the value itself', 'abc', 'match'],
    ['longer', 'abcdef', 'match'],
    ['the last value', 'élan', 'match'],
    ['decomposed', 'e\u0301lan', 'differs'],
    ['at the end', 'xabc', 'differs'],
    ['another case', 'Abc', 'differs'],
    ['shorter', 'ab', 'differs'],
    ['empty', '', 'differs'],
    ['zero', 0, 'differs'],
    ['a number', 12, 'differs'],
    ['a lone surrogate', '\ud800', 'differs'],
  ],
};

const endsWith: ClauseTable = {
  name: 'endsWith',
  op: 'endsWith',
  values: ['zz', '.org', '🌍'],
  rows: [
    ...commonRows('a.org'),
    ['the value itself', '.org', 'match'],
    ['longer', 'guidon.org', 'match'],
    ['beyond the BMP', 'hello 🌍', 'match'],
    ['another that ends in the same low surrogate', 'hello \u{1f70d}', 'differs'],
    ['in the middle', 'a.org/', 'differs'],
    ['another case', 'a.ORG', 'differs'],
    ['empty', '', 'differs'],
    ['zero', 0, 'differs'],
    ['a number', 1, 'differs'],
    ['a lone surrogate', '\udc0d', 'differs'],
  ],
};

const contains: ClauseTable = {
  name: 'contains',
  op: 'contains',
  values: ['zz', '漢', 'beta', REPLACED],
  rows: [
    ...commonRows('a beta c'),
    ['the value itself', 'beta', 'match'],
    ['at the start', 'beta-1', 'match'],
    ['at the end', 'x-beta', 'match'],
    ['in the middle', 'x-beta-y', 'match'],
    ['overlapping start', 'bebeta', 'match'],
    ['non-ASCII', 'a漢b', 'match'],
    ['another case', 'BETA', 'differs'],
    ['a part', 'bet', 'differs'],
    ['empty', '', 'differs'],
    ['zero', 0, 'differs'],
    ['a number', 5, 'differs'],
    ['a lone surrogate in the middle', 'a\ud83cb', 'match'],
    ['a whole pair holds no lone one', '🌍', 'differs'],
  ],
};

const emptyValue: ClauseTable = {
  name: 'contains-empty',
  op: 'contains',
  values: [''],
  rows: [
    ['any string', 'x', 'match'],
    ['the empty string', '', 'match'],
    ['absent', ABSENT, 'missing'],
    ['a number', 0, 'differs'],
    ['an array without strings', [1], 'differs'],
    ['an array with the empty string', [''], 'match'],
  ],
};

const ignoreCase: ClauseTable[] = [
  {
    name: 'startsWithIgnoreCase',
    op: 'startsWithIgnoreCase',
    values: ['kelvin', 'Straße', 'ΣΊΣΥΦΟΣ', 'İ'],
    rows: [
      ...commonRows('KELVIN scale'),
      ['lower', 'kelvins', 'match'],
      ['mixed', 'KeLvIn', 'match'],
      ['the Kelvin sign folds to k', `${KELVIN}elvin`, 'match'],
      ['sharp s folds to itself', 'STRASSE', 'differs'],
      ['capital sharp s folds to sharp s', 'STRA\u1e9eE', 'match'],
      ['final sigma folds to sigma', 'σίσυφος', 'match'],
      ['all small sigmas', 'σίσυφοσ', 'match'],
      ['dotted capital I folds to itself', 'İzmir', 'match'],
      ['i with a dot above is not it', 'i\u0307zmir', 'differs'],
      ['plain i is not it', 'izmir', 'differs'],
      ['empty', '', 'differs'],
      ['zero', 0, 'differs'],
      ['a number', 7, 'differs'],
      ['a lone surrogate', '\ud800kelvin', 'differs'],
    ],
  },
  {
    name: 'endsWithIgnoreCase',
    op: 'endsWithIgnoreCase',
    values: ['@Example.COM', 'S', '\u{10400}'],
    rows: [
      ...commonRows('me@EXAMPLE.com'),
      ['same case', 'me@Example.COM', 'match'],
      ['long s folds to s', `x${LONG_S}`, 'match'],
      ['small s', 'xs', 'match'],
      ['Deseret folds beyond the BMP', 'x\u{10428}', 'match'],
      ['the next Deseret letter', 'x\u{10429}', 'differs'],
      ['in the middle', 'me@example.com.', 'differs'],
      ['empty', '', 'differs'],
      ['zero', 0, 'differs'],
      ['a number', 1, 'differs'],
      ['a lone surrogate', '\udc28', 'differs'],
    ],
  },
  {
    name: 'containsIgnoreCase',
    op: 'containsIgnoreCase',
    values: ['ÉTÉ', 'ı', '\ufb05'],
    rows: [
      ...commonRows('cet été'),
      ['upper', 'L’ÉTÉ', 'match'],
      ['without accents', 'ete', 'differs'],
      ['decomposed', 'e\u0301te\u0301', 'differs'],
      ['dotless i', 'xıy', 'match'],
      ['dotless i does not fold to i', 'xiy', 'differs'],
      ['nor to I', 'xIy', 'differs'],
      ['long s t and s t ligatures fold together', '\ufb06', 'match'],
      ['the letters of the ligature are others', 'st', 'differs'],
      ['empty', '', 'differs'],
      ['zero', 0, 'differs'],
      ['a number', 1, 'differs'],
      ['a lone surrogate', '\ud800', 'differs'],
    ],
  },
];

export const TEXT_TABLES = [
  clauseTable('in', 'The operator in: equal, of the same type, to any value.', inClauses),
  clauseTable('text', 'startsWith, endsWith and contains compare code points, without normalisation.', [
    startsWith,
    endsWith,
    contains,
    emptyValue,
  ]),
  clauseTable('ignore-case', 'The IgnoreCase twins fold by Unicode simple case folding, statuses C and S.', ignoreCase),
];
