import type { FlagDefinition, Rollout } from '@guidon/engine';
import { aFlag } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { fails, no, serves, table } from './vector-table.js';

/** Targeting keys and their buckets under the salt `salt`, from an independent murmur3. */
const BUCKET_0 = 'user-71140';
const BUCKET_1 = 'user-68980';
const BUCKET_29999 = 'user-501612';
const BUCKET_30000 = 'user-60574';
const BUCKET_49999 = 'user-116613';
const BUCKET_50000 = 'user-98113';
const BUCKET_69999 = 'user-213081';
const BUCKET_70000 = 'user-95269';
const BUCKET_99999 = 'user-98095';
const BUCKET_67197 = 'user-1';

type Weights = Rollout['weights'];
const weights = (yes: number, no: number, off: number): Weights => [
  { variation: 'yes', weight: yes },
  { variation: 'no', weight: no },
  { variation: 'off', weight: off },
];
const half = weights(50_000, 50_000, 0);

/** Serves the rollout to everybody. */
const falls = (key: string, rollout: Rollout, changes: Partial<FlagDefinition> = {}): FlagDefinition =>
  aFlag(key, { fallthrough: { rollout }, ...changes });

const split = (flag: string, variation: string) => serves(flag, variation, 'SPLIT');
const by = (
  flag: string,
  rows: readonly (readonly [name: string, context: unknown, variation: string])[],
): VectorCase[] =>
  rows.map(([name, context, variation]) => ({
    name: `${flag}: ${name}`,
    flag,
    context,
    expected: split(flag, variation),
  }));
const key = (targetingKey: unknown): unknown => ({ targetingKey });

const borders = table(
  'buckets',
  'Which variation a bucket gives: the first whose running sum is greater than the bucket.',
  {
    flags: [
      falls('half', { weights: half }),
      falls('all-yes', { weights: weights(100_000, 0, 0) }),
      falls('all-no', { weights: weights(0, 100_000, 0) }),
      falls('all-off', { weights: weights(0, 0, 100_000) }),
      falls('one-yes', { weights: weights(1, 99_999, 0) }),
      falls('one-off', { weights: weights(0, 99_999, 1) }),
      falls('thirds', { weights: weights(30_000, 40_000, 30_000) }),
      falls('zero-first', { weights: [{ variation: 'off', weight: 0 }, ...weights(50_000, 50_000, 0)] }),
      falls('twice', {
        weights: [
          { variation: 'yes', weight: 30_000 },
          { variation: 'no', weight: 40_000 },
          { variation: 'yes', weight: 30_000 },
        ],
      }),
      falls('one-weight', { weights: [{ variation: 'no', weight: 100_000 }], hash: 'murmur3' }),
      falls('salt-2', { weights: half }, { salt: 'salt-2' }),
      falls('seed', { weights: half, seed: 'seed-1' }),
      falls('seed-text', { weights: half, seed: 'a.b: ключ' }),
      falls('seed-like-salt', { weights: half, seed: 'salt' }, { salt: 'other' }),
    ],
    cases: [
      ...by('half', [
        ['bucket 0', key(BUCKET_0), 'yes'],
        ['bucket 49 999', key(BUCKET_49999), 'yes'],
        ['bucket 50 000', key(BUCKET_50000), 'no'],
        ['bucket 99 999', key(BUCKET_99999), 'no'],
        ['bucket 67 197', key(BUCKET_67197), 'no'],
        ['bucket 33 134, beyond ASCII', key('ключ'), 'yes'],
        ['bucket 88 521, beyond the BMP', key('🌍'), 'no'],
        ['bucket 96 147, a lone surrogate is U+FFFD', key('\ud800'), 'no'],
        ['bucket 19 955, a string of digits', key('42'), 'yes'],
        ['bucket 19 955, the integer', key(42), 'yes'],
        ['bucket 3 041, the integer 0', key(0), 'yes'],
        ['bucket 3 041, minus zero is 0', key(-0), 'yes'],
        ['bucket 6 146, a negative integer', key(-5), 'yes'],
        ['bucket 91 306, 2^53 - 1', key(9007199254740991), 'no'],
        ['bucket 55 492, the string 1.5', key('1.5'), 'no'],
      ]),
      ...by('all-yes', [
        ['bucket 0', key(BUCKET_0), 'yes'],
        ['bucket 99 999', key(BUCKET_99999), 'yes'],
      ]),
      ...by('all-no', [
        ['bucket 0', key(BUCKET_0), 'no'],
        ['bucket 99 999', key(BUCKET_99999), 'no'],
      ]),
      ...by('all-off', [
        ['bucket 0', key(BUCKET_0), 'off'],
        ['bucket 99 999', key(BUCKET_99999), 'off'],
      ]),
      ...by('one-yes', [
        ['bucket 0', key(BUCKET_0), 'yes'],
        ['bucket 1', key(BUCKET_1), 'no'],
        ['bucket 99 999', key(BUCKET_99999), 'no'],
      ]),
      ...by('one-off', [
        ['bucket 0', key(BUCKET_0), 'no'],
        ['bucket 99 999', key(BUCKET_99999), 'off'],
      ]),
      ...by('thirds', [
        ['bucket 29 999', key(BUCKET_29999), 'yes'],
        ['bucket 30 000', key(BUCKET_30000), 'no'],
        ['bucket 69 999', key(BUCKET_69999), 'no'],
        ['bucket 70 000', key(BUCKET_70000), 'off'],
      ]),
      ...by('zero-first', [
        ['bucket 0 passes a weight of zero', key(BUCKET_0), 'yes'],
        ['bucket 50 000', key(BUCKET_50000), 'no'],
      ]),
      ...by('twice', [
        ['the first range', key(BUCKET_29999), 'yes'],
        ['between', key(BUCKET_30000), 'no'],
        ['the second range', key(BUCKET_70000), 'yes'],
      ]),
      ...by('one-weight', [['everybody', key(BUCKET_99999), 'no']]),
      ...by('salt-2', [
        ['another salt: 33 733', key('user-1'), 'yes'],
        ['another salt: 23 669', key(BUCKET_0), 'yes'],
      ]),
      ...by('seed', [
        ['the seed replaces the salt: 61 861', key('user-1'), 'no'],
        ['12 303', key(BUCKET_0), 'yes'],
        ['60 085, with the salt it would be 13 362', key('user-2'), 'no'],
        ['20 286, with the salt it would be 71 621', key('user-20360'), 'yes'],
      ]),
      ...by('seed-text', [
        ['a seed may hold dots and any letters: 50 409', key('user-1'), 'no'],
        ['45 462', key(BUCKET_0), 'yes'],
        ['12 042', key('acme'), 'yes'],
      ]),
      ...by('seed-like-salt', [
        ['flags sharing a seed bucket alike: 0', key(BUCKET_0), 'yes'],
        ['67 197', key('user-1'), 'no'],
      ]),
    ],
  },
);

const missing = (flag: string) => fails(flag, 'TARGETING_KEY_MISSING');
const offByDefault = (flag: string) => serves(flag, 'off', 'DEFAULT');

const subjects = table('bucket-by', 'What is hashed, and what happens when it is missing.', {
  flags: [
    falls('by-key', { weights: half }),
    falls('by-key-named', { weights: half, bucketBy: 'targetingKey' }),
    falls('by-key-pointer', { weights: half, bucketBy: '/targetingKey' }),
    falls('by-company', { weights: half, bucketBy: 'company' }),
    falls('by-pointer', { weights: half, bucketBy: '/account/ids/1' }),
    falls('by-org', { contextKind: 'organization', weights: half }),
    falls('by-org-company', { contextKind: 'organization', bucketBy: 'company', weights: half }),
  ],
  cases: [
    { name: 'no targeting key', flag: 'by-key', context: {}, expected: missing('by-key') },
    { name: 'null', flag: 'by-key', context: key(null), expected: missing('by-key') },
    { name: 'empty', flag: 'by-key', context: key(''), expected: missing('by-key') },
    { name: 'a fraction', flag: 'by-key', context: key(1.5), expected: missing('by-key') },
    { name: '2^53', flag: 'by-key', context: key(9007199254740992), expected: missing('by-key') },
    { name: '1e21', flag: 'by-key', context: key(1e21), expected: missing('by-key') },
    { name: 'NaN', flag: 'by-key', context: key(Number.NaN), expected: missing('by-key') },
    { name: 'Infinity', flag: 'by-key', context: key(Number.POSITIVE_INFINITY), expected: missing('by-key') },
    { name: 'a boolean', flag: 'by-key', context: key(true), expected: missing('by-key') },
    { name: 'an array', flag: 'by-key', context: key(['user-1']), expected: missing('by-key') },
    { name: 'an object', flag: 'by-key', context: key({}), expected: missing('by-key') },
    {
      name: 'a missing kind',
      flag: 'by-key',
      context: { kind: 'organization', targetingKey: 'acme' },
      expected: missing('by-key'),
    },
    { name: 'no kind at all', flag: 'by-key', context: { kind: 'multi' }, expected: missing('by-key') },
    { name: 'targetingKey, named', flag: 'by-key-named', context: {}, expected: missing('by-key-named') },
    { name: 'targetingKey, by pointer', flag: 'by-key-pointer', context: key(''), expected: missing('by-key-pointer') },
    ...by('by-key-named', [['bucket 0', key(BUCKET_0), 'yes']]),
    ...by('by-key-pointer', [['bucket 99 999', key(BUCKET_99999), 'no']]),
    { name: 'no attribute', flag: 'by-company', context: key('u'), expected: offByDefault('by-company') },
    { name: 'an attribute null', flag: 'by-company', context: { company: null }, expected: offByDefault('by-company') },
    {
      name: 'an attribute false',
      flag: 'by-company',
      context: { company: false },
      expected: offByDefault('by-company'),
    },
    { name: 'an attribute 0.5', flag: 'by-company', context: { company: 0.5 }, expected: offByDefault('by-company') },
    {
      name: 'an attribute array',
      flag: 'by-company',
      context: { company: ['x'] },
      expected: offByDefault('by-company'),
    },
    ...by('by-company', [
      ['bucket 61 113: empty is a value', { company: '' }, 'no'],
      ['bucket 36 604', { company: 'acme' }, 'yes'],
      ['bucket 3 041', { company: 0 }, 'yes'],
    ]),
    ...by('by-pointer', [
      ['bucket 19 955', { account: { ids: ['x', 42] } }, 'yes'],
      ['bucket 99 999', { account: { ids: ['x', BUCKET_99999] } }, 'no'],
    ]),
    {
      name: 'a short array',
      flag: 'by-pointer',
      context: { account: { ids: [1] } },
      expected: offByDefault('by-pointer'),
    },
    ...by('by-org', [
      ['another kind', { kind: 'organization', targetingKey: BUCKET_0 }, 'yes'],
      [
        'one of several',
        { kind: 'multi', user: { targetingKey: BUCKET_0 }, organization: { targetingKey: BUCKET_99999 } },
        'no',
      ],
    ]),
    { name: 'organization missing', flag: 'by-org', context: key('u'), expected: missing('by-org') },
    {
      name: 'organization without the attribute',
      flag: 'by-org-company',
      context: { kind: 'organization', targetingKey: 'acme' },
      expected: offByDefault('by-org-company'),
    },
    {
      name: 'organization missing, bucketed by an attribute',
      flag: 'by-org-company',
      context: { company: 'acme' },
      expected: offByDefault('by-org-company'),
    },
  ],
});

const everybody = { all: [] };
const inLayer = (from: number, to: number): Rollout => ({ weights: half, layer: { key: 'l1', from, to } });
const ruled = (flag: string, variation: string, more: { inExperiment?: true } = {}) =>
  serves(flag, variation, 'SPLIT', { ruleId: 'r', ...more });

const rollouts = table(
  'layers-and-rules',
  'Layers, experiments, and rollouts in rules: one that is not entered goes on to the next rule.',
  {
    flags: [
      falls('layer-all', inLayer(0, 100_000)),
      falls('layer-none', inLayer(0, 0)),
      falls('layer-empty-inside', inLayer(80_560, 80_560)),
      falls('layer-first', inLayer(0, 1)),
      falls('layer-last', inLayer(99_999, 100_000)),
      falls('layer-from', inLayer(80_560, 80_561)),
      falls('layer-to', inLayer(0, 80_560)),
      aFlag('rule', { rules: [{ id: 'r', when: everybody, serve: { rollout: { weights: half } } }] }),
      aFlag('rule-layer', { rules: [{ id: 'r', when: everybody, serve: { rollout: inLayer(0, 1) } }] }),
      aFlag('rule-then-rule', {
        rules: [
          { id: 'first', when: everybody, serve: { rollout: { weights: half, bucketBy: 'company' } } },
          { id: 'r', when: everybody, serve: { rollout: { weights: half } } },
        ],
      }),
      falls('experiment', { weights: half, experiment: 'exp-1' }),
      falls('experiment-layer', { ...inLayer(0, 1), experiment: 'exp-1' }),
      aFlag('experiment-rule', {
        rules: [{ id: 'r', when: everybody, serve: { rollout: { weights: half, experiment: 'exp-1' } } }],
      }),
      aFlag('experiment-elsewhere', {
        rules: [{ id: 'r', when: { attribute: 'a', op: 'exists', values: [true] }, serve: { variation: 'yes' } }],
        fallthrough: { rollout: { weights: half, experiment: 'exp-1' } },
      }),
    ],
    cases: [
      ...by('layer-all', [
        ['everybody, bucket 0', key(BUCKET_0), 'yes'],
        ['everybody, bucket 99 999', key(BUCKET_99999), 'no'],
      ]),
      { name: 'from = to = 0', flag: 'layer-none', context: key('user-15161'), expected: offByDefault('layer-none') },
      {
        name: 'from = to = the bucket',
        flag: 'layer-empty-inside',
        context: key('user-1'),
        expected: offByDefault('layer-empty-inside'),
      },
      ...by('layer-first', [['layer bucket 0, own bucket 77 641', key('user-15161'), 'no']]),
      {
        name: 'first: layer bucket 80 560',
        flag: 'layer-first',
        context: key('user-1'),
        expected: offByDefault('layer-first'),
      },
      ...by('layer-last', [['layer bucket 99 999, own bucket 71 621', key('user-20360'), 'no']]),
      {
        name: 'last: layer bucket 0',
        flag: 'layer-last',
        context: key('user-15161'),
        expected: offByDefault('layer-last'),
      },
      ...by('layer-from', [['from is inside', key('user-1'), 'no']]),
      { name: 'to is outside', flag: 'layer-to', context: key('user-1'), expected: offByDefault('layer-to') },
      {
        name: 'a missing key is decided before the layer',
        flag: 'layer-none',
        context: {},
        expected: missing('layer-none'),
      },
      { name: 'rule: bucket 0', flag: 'rule', context: key(BUCKET_0), expected: ruled('rule', 'yes') },
      { name: 'rule: bucket 99 999', flag: 'rule', context: key(BUCKET_99999), expected: ruled('rule', 'no') },
      { name: 'rule: no key goes on', flag: 'rule', context: {}, expected: no('rule') },
      {
        name: 'rule: inside the layer',
        flag: 'rule-layer',
        context: key('user-15161'),
        expected: ruled('rule-layer', 'no'),
      },
      {
        name: 'rule: outside the layer goes on',
        flag: 'rule-layer',
        context: key('user-1'),
        expected: no('rule-layer'),
      },
      {
        name: 'rule: no company goes to the next rule',
        flag: 'rule-then-rule',
        context: key(BUCKET_0),
        expected: ruled('rule-then-rule', 'yes'),
      },
      {
        name: 'rule: company stays in the first',
        flag: 'rule-then-rule',
        context: { company: 'acme', targetingKey: BUCKET_99999 },
        expected: serves('rule-then-rule', 'yes', 'SPLIT', { ruleId: 'first' }),
      },
      {
        name: 'rule: neither company nor key goes to the fallthrough',
        flag: 'rule-then-rule',
        context: {},
        expected: no('rule-then-rule'),
      },
      {
        name: 'experiment: served',
        flag: 'experiment',
        context: key(BUCKET_0),
        expected: serves('experiment', 'yes', 'SPLIT', { inExperiment: true }),
      },
      { name: 'experiment: no key', flag: 'experiment', context: {}, expected: missing('experiment') },
      {
        name: 'experiment: outside the layer is not in it',
        flag: 'experiment-layer',
        context: key('user-1'),
        expected: offByDefault('experiment-layer'),
      },
      {
        name: 'experiment: in a rule',
        flag: 'experiment-rule',
        context: key(BUCKET_99999),
        expected: ruled('experiment-rule', 'no', { inExperiment: true }),
      },
      {
        name: 'experiment: another rule served',
        flag: 'experiment-elsewhere',
        context: { targetingKey: BUCKET_0, a: 1 },
        expected: serves('experiment-elsewhere', 'yes', 'TARGETING_MATCH', { ruleId: 'r' }),
      },
    ],
  },
);

export const ROLLOUT_TABLES = [borders, subjects, rollouts];
