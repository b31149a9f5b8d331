import type { Condition } from '@guidon/engine';
import { aFlag } from '../../support/flag-sets.js';
import { no, ruleWhen, serves, table, yes } from './vector-table.js';

const is = (attribute: string): Condition => ({ attribute, op: 'in', values: [true] });
const a = is('a');
const b = is('b');
const c = is('c');

/** Each condition and the contexts (as the list of attributes that are true) for which it holds, out of all eight. */
const trees: readonly (readonly [name: string, condition: Condition, holdsFor: readonly string[]])[] = [
  ['all-empty', { all: [] }, ['', 'a', 'b', 'c', 'ab', 'ac', 'bc', 'abc']],
  ['any-empty', { any: [] }, []],
  ['not-all-empty', { not: { all: [] } }, []],
  ['not-any-empty', { not: { any: [] } }, ['', 'a', 'b', 'c', 'ab', 'ac', 'bc', 'abc']],
  ['all', { all: [a, b, c] }, ['abc']],
  ['any', { any: [a, b, c] }, ['a', 'b', 'c', 'ab', 'ac', 'bc', 'abc']],
  ['not', { not: a }, ['', 'b', 'c', 'bc']],
  ['not-not', { not: { not: b } }, ['b', 'ab', 'bc', 'abc']],
  ['first-in-any', { any: [{ all: [a, b] }, c] }, ['ab', 'c', 'ac', 'bc', 'abc']],
  ['middle-in-all', { all: [a, { any: [b, c] }, { not: { all: [b, c] } }] }, ['ab', 'ac']],
  [
    'last-in-any',
    { any: [{ all: [a, { not: b }] }, { all: [b, { not: a }] }, { all: [c, a, b] }] },
    ['a', 'ac', 'b', 'bc', 'abc'],
  ],
  ['none', { not: { any: [a, b, c] } }, ['']],
  ['xor', { any: [{ all: [a, { not: b }] }, { all: [{ not: a }, b] }] }, ['a', 'b', 'ac', 'bc']],
  ['majority', { any: [{ all: [a, b] }, { all: [b, c] }, { all: [a, c] }] }, ['ab', 'bc', 'ac', 'abc']],
  ['depth-8', { all: [{ any: [{ not: { all: [{ any: [{ not: { not: a } }] }] } }] }] }, ['', 'b', 'c', 'bc']],
];

const CONTEXTS = ['', 'a', 'b', 'c', 'ab', 'ac', 'bc', 'abc'];

function contextOf(names: string): Record<string, boolean> {
  return Object.fromEntries(['a', 'b', 'c'].map((name) => [name, names.includes(name)]));
}

const missing: Condition = { attribute: 'nowhere', op: 'in', values: ['x'] };

const missingTable = table(
  'missing',
  'not inverts the plain result, so it differs from negate over a missing attribute.',
  {
    flags: [
      aFlag('plain', ruleWhen(missing)),
      aFlag('negate', ruleWhen({ attribute: 'nowhere', op: 'in', values: ['x'], negate: true })),
      aFlag('not', ruleWhen({ not: missing })),
      aFlag('not-negate', ruleWhen({ not: { attribute: 'nowhere', op: 'in', values: ['x'], negate: true } })),
    ],
    cases: [
      { name: 'plain', flag: 'plain', context: {}, expected: no('plain') },
      { name: 'negate', flag: 'negate', context: {}, expected: no('negate') },
      { name: 'not', flag: 'not', context: {}, expected: yes('not') },
      { name: 'not of negate', flag: 'not-negate', context: {}, expected: yes('not-negate') },
      { name: 'plain, there', flag: 'plain', context: { nowhere: 'x' }, expected: yes('plain') },
      { name: 'negate, there', flag: 'negate', context: { nowhere: 'x' }, expected: no('negate') },
      { name: 'not, there', flag: 'not', context: { nowhere: 'x' }, expected: no('not') },
      { name: 'not of negate, there', flag: 'not-negate', context: { nowhere: 'x' }, expected: yes('not-negate') },
      { name: 'negate, another value', flag: 'negate', context: { nowhere: 'y' }, expected: yes('negate') },
    ],
  },
);

const rule = (id: string, condition: Condition, variation: string) => ({ id, when: condition, serve: { variation } });

const rulesTable = table('rules', 'Rules in order, the first that matches serves.', {
  flags: [
    aFlag('three', { rules: [rule('first', a, 'yes'), rule('middle', b, 'no'), rule('last', c, 'off')] }),
    aFlag('same', { rules: [rule('one', { all: [] }, 'yes'), rule('two', { all: [] }, 'no')] }),
  ],
  cases: [
    ...(['a', 'ab', 'ac', 'abc'] as const).map((names) => ({
      name: `first: ${names}`,
      flag: 'three',
      context: contextOf(names),
      expected: serves('three', 'yes', 'TARGETING_MATCH', { ruleId: 'first' }),
    })),
    ...(['b', 'bc'] as const).map((names) => ({
      name: `middle: ${names}`,
      flag: 'three',
      context: contextOf(names),
      expected: serves('three', 'no', 'TARGETING_MATCH', { ruleId: 'middle' }),
    })),
    {
      name: 'last: c',
      flag: 'three',
      context: contextOf('c'),
      expected: serves('three', 'off', 'TARGETING_MATCH', { ruleId: 'last' }),
    },
    { name: 'none', flag: 'three', context: contextOf(''), expected: no('three') },
    {
      name: 'the first of two that match',
      flag: 'same',
      context: {},
      expected: serves('same', 'yes', 'TARGETING_MATCH', { ruleId: 'one' }),
    },
  ],
});

export const CONDITION_TABLES = [
  table('conditions', 'Trees of all, any and not over three attributes, each with all eight contexts.', {
    flags: trees.map(([name, condition]) => aFlag(name, ruleWhen(condition))),
    cases: trees.flatMap(([flag, , holdsFor]) =>
      CONTEXTS.map((names) => ({
        name: `${flag}: ${names === '' ? 'none' : names}`,
        flag,
        context: contextOf(names),
        expected: holdsFor.includes(names) ? yes(flag) : no(flag),
      })),
    ),
  }),
  missingTable,
  rulesTable,
];
