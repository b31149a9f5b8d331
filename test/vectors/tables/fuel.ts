import type { Condition, Result, Rollout } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { aChunk, aFlag, aSegment } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { fails, no, ruleWhen, serves, table, yes } from './vector-table.js';

/** 300 numbers below, at and above what the clauses here compare with. */
const numbers = Array.from({ length: 300 }, (_, index) => index);
const many = (count: number, value: Json): Json[] => Array.from({ length: count }, () => value);

/** Costs 1 + 300 * 330 = 99 001 and holds. */
const expensive: Condition = { attribute: 'numbers', op: 'lt', values: many(330, 1) };
/** Fuel that is left then. */
const LEFT = 999;
/** Costs 1 + `cost` - 1 over one number and holds. */
const costing = (cost: number): Condition => ({ attribute: 'one', op: 'gte', values: many(cost - 1, 0) });
const context = {
  targetingKey: 'u',
  numbers,
  one: 1,
  text63: 'a'.repeat(63),
  text64: 'a'.repeat(64),
  text1024: 'a'.repeat(1024),
  text2000: 'é'.repeat(1000),
  texts: ['a'.repeat(64), 5, null, 'a'],
  mixed: [1, 'x', null, [], {}],
};

/** A step, and what it costs. Asked with just enough fuel left and with one too little. */
const steps: readonly (readonly [name: string, condition: Condition, cost: number])[] = [
  ['missing', { not: { attribute: 'nowhere', op: 'lt', values: many(50, 1) } }, 1],
  ['missing-kind', { not: { contextKind: 'device', attribute: 'one', op: 'lt', values: many(50, 1) } }, 1],
  ['exists', { attribute: 'numbers', op: 'exists', values: [true] }, 1],
  ['in', { attribute: 'one', op: 'in', values: [...many(50, 2), 1] }, 2],
  ['in-elements', { attribute: 'mixed', op: 'in', values: [1, 2, 3] }, 6],
  ['wrong-type', { not: { attribute: 'one', op: 'startsWith', values: many(40, 'x') } }, 41],
  ['wrong-type-elements', { not: { attribute: 'mixed', op: 'cidr', values: many(4, '10.0.0.1') } }, 21],
  ['first-value-matches', { attribute: 'one', op: 'gt', values: many(30, 0) }, 31],
  ['text-63', { attribute: 'text63', op: 'contains', values: many(10, 'a') }, 11],
  ['text-64', { attribute: 'text64', op: 'contains', values: many(10, 'a') }, 21],
  ['text-2000', { attribute: 'text2000', op: 'startsWithIgnoreCase', values: many(10, 'é') }, 1 + 10 * 32],
  ['text-elements', { attribute: 'texts', op: 'endsWith', values: many(3, 'a') }, 1 + 3 * 5],
  ['text-of-wrong-type', { not: { attribute: 'text64', op: 'lt', values: many(10, 1) } }, 21],
  ['version-64', { not: { attribute: 'text64', op: 'semverEq', values: many(10, '1.0.0') } }, 21],
  ['in-64', { attribute: 'text64', op: 'in', values: ['a', 'a'.repeat(64)] }, 3],
  ['in-text-elements', { attribute: 'texts', op: 'in', values: ['a', 5] }, 6],
  ['exists-2000', { attribute: 'text2000', op: 'exists', values: [true] }, 1],
  ['matches-63', { attribute: 'text63', op: 'matches', values: ['a', 'b'] }, 1 + 2 * 16],
  ['matches-64', { attribute: 'text64', op: 'matches', values: ['a', 'b'] }, 1 + 2 * 16 * 2],
  ['matches-1024', { attribute: 'text1024', op: 'matches', values: ['a', 'b', 'c'] }, 1 + 3 * 16 * 17],
  ['matches-cut', { attribute: 'text2000', op: 'matches', values: ['é', 'b', 'c'] }, 1 + 3 * 16 * 17],
  ['matches-elements', { attribute: 'texts', op: 'matches', values: ['a', 'b'] }, 1 + 2 * 16 * 3],
  ['matches-number', { not: { attribute: 'one', op: 'matches', values: ['a', 'b'] } }, 1],
  ['now', { attribute: '@now', op: 'after', values: many(20, -1) }, 21],
  ['kinds', { attribute: 'kind', op: 'startsWith', values: many(20, 'us') }, 21],
  ['all-stops', { not: { all: [{ any: [] }, costing(99)] } }, 0],
  ['any-stops', { any: [costing(5), costing(99)] }, 5],
  ['all-goes-on', { all: [costing(5), costing(6)] }, 11],
  ['any-goes-on', { any: [{ not: costing(5) }, costing(6)] }, 11],
  ['no-segment', { segment: [], negate: true }, 1],
  ['missing-segment', { segment: ['nowhere'], negate: true }, 2],
  ['segment-list', { segment: ['listed'] }, 2],
  ['segment-rules', { segment: ['ruled'] }, 2 + 7],
  ['segments-up-to-the-first', { segment: ['nowhere', 'ruled', 'listed'] }, 3 + 7],
  ['segments-all', { not: { segment: ['nowhere', 'empty', 'empty'] } }, 4],
  ['segment-twice', { all: [{ segment: ['ruled'] }, { segment: ['ruled'] }] }, 18],
  ['segment-nested', { segment: ['outer'] }, 2 + 2 + 7],
  ['segment-rollout', { segment: ['rolled63'] }, 2 + 1 + 1],
  ['segment-rollout-64', { segment: ['rolled64'] }, 2 + 1 + 2],
  ['segment-rollout-missing', { not: { segment: ['rolled-nowhere'] } }, 2 + 1],
];

/** `total` is what the flag spends: at most 100 000 serves, one more does not. */
const exactly = (name: string, condition: Condition, cost: number) =>
  aFlag(name, ruleWhen({ all: [expensive, ...padding(LEFT - cost), condition] }));
const oneOver = (name: string, condition: Condition, cost: number) =>
  aFlag(`${name}-over`, ruleWhen({ all: [expensive, ...padding(LEFT + 1 - cost), condition] }));

function padding(cost: number): Condition[] {
  return cost === 0 ? [] : [cost === 1 ? { attribute: 'one', op: 'exists', values: [true] } : costing(cost)];
}

const broke = aFlag('broke', ruleWhen({ all: [expensive, costing(LEFT + 1)] }));
const stepCases: VectorCase[] = steps.flatMap(([name]) => [
  { name: `${name}: just enough`, flag: name, context, expected: yes(name) },
  { name: `${name}: one too little`, flag: `${name}-over`, context, expected: fails(`${name}-over`, 'GENERAL') },
]);

/** Serves a rollout that everybody who is in the layer's range gets `yes` of, with `left` fuel to spend on it. */
const rollingOut = (name: string, rollout: Partial<Rollout>, left: number) =>
  aFlag(name, {
    rules: [
      {
        id: 'r',
        when: { all: [expensive, ...padding(LEFT - left)] },
        serve: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }], ...rollout } },
      },
    ],
  });
const inLayer = { layer: { key: 'l', from: 0, to: 100_000 } };
const outsideLayer = { layer: { key: 'l', from: 0, to: 0 } };
const rollouts: readonly (readonly [
  name: string,
  rollout: Partial<Rollout>,
  cost: number,
  served: Result['reason'],
])[] = [
  ['rollout', {}, 1, 'SPLIT'],
  ['rollout-63', { bucketBy: 'text63' }, 1, 'SPLIT'],
  ['rollout-64', { bucketBy: 'text64' }, 2, 'SPLIT'],
  ['rollout-2000', { bucketBy: 'text2000' }, 32, 'SPLIT'],
  ['rollout-number', { bucketBy: 'one' }, 1, 'SPLIT'],
  ['rollout-layer', { bucketBy: 'text64', ...inLayer }, 4, 'SPLIT'],
  ['rollout-outside', { bucketBy: 'text64', ...outsideLayer }, 2, 'DEFAULT'],
  ['rollout-missing', { bucketBy: 'nowhere', ...inLayer }, 0, 'DEFAULT'],
];
const rolledOut = (name: string, reason: Result['reason']): Result =>
  reason === 'SPLIT' ? serves(name, 'yes', 'SPLIT', { ruleId: 'r' }) : no(name);

const targets = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ contextKind: 'user', variation: 'off', keys: [`k${index}`] }));

export const FUEL_TABLES = [
  table('fuel', 'What each step costs: with exactly enough fuel it is taken, with one less the answer is GENERAL.', {
    flags: [
      ...steps.map(([name, condition, cost]) => exactly(name, condition, cost)),
      ...steps.map(([name, condition, cost]) => oneOver(name, condition, cost)),
      broke,
      ...rollouts.map(([name, rollout, cost]) => rollingOut(name, rollout, cost)),
      ...rollouts.flatMap(([name, rollout, cost]) =>
        cost === 0 ? [] : [rollingOut(`${name}-over`, rollout, cost - 1)],
      ),
      aFlag('fallthrough', {
        rules: [{ id: 'r', when: { not: { all: [expensive, costing(LEFT - 1)] } }, serve: { variation: 'off' } }],
        fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }] } },
      }),
      aFlag('fallthrough-over', {
        rules: [{ id: 'r', when: { not: { all: [expensive, costing(LEFT)] } }, serve: { variation: 'off' } }],
        fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }] } },
      }),
      aFlag('targets', { targets: targets(10), ...ruleWhen({ all: [expensive, costing(LEFT - 10)] }) }),
      aFlag('targets-over', { targets: targets(10), ...ruleWhen({ all: [expensive, costing(LEFT - 9)] }) }),
      aFlag('targets-up-to-the-first', {
        targets: [...targets(3), { contextKind: 'user', variation: 'yes', keys: ['u'] }],
      }),
      aFlag('prerequisites', {
        prerequisites: [
          { flag: 'static', variations: ['no'] },
          { flag: 'static', variations: ['no'] },
        ],
        ...ruleWhen({ all: [expensive, costing(LEFT - 8)] }),
      }),
      aFlag('prerequisites-over', {
        prerequisites: [
          { flag: 'static', variations: ['no'] },
          { flag: 'static', variations: ['no'] },
        ],
        ...ruleWhen({ all: [expensive, costing(LEFT - 7)] }),
      }),
      aFlag('own-tank', {
        prerequisites: [{ flag: 'segment-nested', variations: ['yes'] }],
        ...ruleWhen({ all: [expensive, costing(LEFT - 4)] }),
      }),
      aFlag('broke-prerequisite', { prerequisites: [{ flag: 'broke', variations: ['yes', 'no', 'off'] }] }),
      aFlag('rules-add-up', {
        rules: [
          { id: 'first', when: { not: expensive }, serve: { variation: 'off' } },
          { id: 'r', when: costing(LEFT), serve: { variation: 'yes' } },
        ],
      }),
      aFlag('rules-add-up-over', {
        rules: [
          { id: 'first', when: { not: expensive }, serve: { variation: 'off' } },
          { id: 'second', when: { not: costing(LEFT) }, serve: { variation: 'off' } },
          { id: 'r', when: costing(1 + 1), serve: { variation: 'yes' } },
        ],
      }),
      aFlag('static'),
    ],
    segments: [
      aSegment('listed'),
      aSegment('empty'),
      aSegment('ruled', { rules: [{ when: { not: costing(3) } }, { when: costing(4) }, { when: costing(99) }] }),
      ...['text63', 'text64', 'nowhere'].map((bucketBy) =>
        aSegment(`rolled${bucketBy === 'nowhere' ? '-nowhere' : bucketBy.slice(-2)}`, {
          rules: [
            {
              when: { attribute: 'one', op: 'exists', values: [true] },
              rollout: { bucketBy, weight: 100_000 },
            },
          ],
        }),
      ),
      aSegment('outer', { rules: [{ when: { segment: ['ruled'] } }] }),
    ],
    segmentKeys: [aChunk('listed', 'included', ['u'])],
    cases: [
      ...stepCases,
      ...rollouts.flatMap(([name, , cost, served]): VectorCase[] => [
        { name: `${name}: just enough`, flag: name, context, expected: rolledOut(name, served) },
        ...(cost === 0
          ? []
          : [
              {
                name: `${name}: one too little`,
                flag: `${name}-over`,
                context,
                expected: fails(`${name}-over`, 'GENERAL'),
              },
            ]),
      ]),
      {
        name: 'fallthrough: just enough',
        flag: 'fallthrough',
        context,
        expected: serves('fallthrough', 'yes', 'SPLIT'),
      },
      {
        name: 'fallthrough: one too little',
        flag: 'fallthrough-over',
        context,
        expected: fails('fallthrough-over', 'GENERAL'),
      },
      { name: 'targets: ten tried', flag: 'targets', context, expected: yes('targets') },
      { name: 'targets: one too little', flag: 'targets-over', context, expected: fails('targets-over', 'GENERAL') },
      {
        name: 'targets: up to the first',
        flag: 'targets-up-to-the-first',
        context,
        expected: serves('targets-up-to-the-first', 'yes', 'TARGETING_MATCH'),
      },
      { name: 'prerequisites: two', flag: 'prerequisites', context, expected: yes('prerequisites') },
      {
        name: 'prerequisites: one too little',
        flag: 'prerequisites-over',
        context,
        expected: fails('prerequisites-over', 'GENERAL'),
      },
      { name: 'a prerequisite has a tank of its own', flag: 'own-tank', context, expected: yes('own-tank') },
      { name: 'asked itself it runs out', flag: 'broke', context, expected: fails('broke', 'GENERAL') },
      {
        name: 'a prerequisite that runs out serves nothing',
        flag: 'broke-prerequisite',
        context,
        expected: serves('broke-prerequisite', 'off', 'DISABLED', { prerequisite: 'broke' }),
      },
      { name: 'rules add up', flag: 'rules-add-up', context, expected: yes('rules-add-up') },
      {
        name: 'rules add up: too little for the last',
        flag: 'rules-add-up-over',
        context,
        expected: fails('rules-add-up-over', 'GENERAL'),
      },
    ],
  }),
];
