import type { FlagDefinition, SegmentDefinition } from '@guidon/engine';
import { LIMITS } from '@guidon/protocol';
import { aFlag, aSegment } from './flag-sets.js';
import type { SeededRandom } from './seeded-random.js';

/** One definition as it is on the wire; the bytes need not be one. */
export type RawDefinition = readonly [kind: string, key: string, bytes: Uint8Array];

/** Of any shape; JSON.stringify makes bytes of it. */
type Loose = Record<string, unknown>;
type Recipe = (random: SeededRandom, key: string) => readonly RawDefinition[];

const many = <Item>(count: number, item: (index: number) => Item): Item[] =>
  Array.from({ length: count }, (_, index) => item(index));

const raw = (kind: string, key: string, text: string | Uint8Array): RawDefinition => [kind, key, Buffer.from(text)];
const loose = (kind: string, key: string, value: Loose): RawDefinition => raw(kind, key, JSON.stringify(value));
const flag = (key: string, changes: Loose = {}): RawDefinition => loose('flag', key, { ...aFlag(key), ...changes });
const segment = (key: string, changes: Loose = {}): RawDefinition =>
  loose('segment', key, { ...aSegment(key), ...changes });
const chunk = (key: string, changes: Loose): RawDefinition => {
  const value = {
    kind: 'segment-keys',
    segment: key,
    list: 'included',
    contextKind: 'user',
    prefix: '',
    keys: [],
    ...changes,
  };
  return loose(
    'segment-keys',
    `${key}/${String(value.list)}/${String(value.prefix)}/${String(value.contextKind)}`,
    value,
  );
};

const clause = (changes: Loose = {}): Loose => ({ attribute: 'email', op: 'in', values: ['x'], ...changes });
const rule = (when: unknown, id = 'rule'): Loose => ({ id, when, serve: { variation: 'yes' } });
const ruled = (key: string, when: unknown): RawDefinition => flag(key, { rules: [rule(when)] });
const nested = (depth: number): unknown => many(depth, () => 0).reduce<unknown>((inner) => ({ not: inner }), clause());
const weights = (count: number, weight: number): Loose[] => many(count, () => ({ variation: 'yes', weight }));

/** One over each limit of the flag model. */
const OVER_LIMITS: readonly Recipe[] = [
  (_, key) => [flag(key, { variations: many(LIMITS.variationsPerFlag + 1, (n) => ({ key: `v${n}`, value: 'v' })) })],
  (_, key) => [flag(key, { rules: many(LIMITS.rulesPerFlag + 1, (n) => rule(clause(), `r${n}`)) })],
  (_, key) => [ruled(key, { all: many(LIMITS.clausesPerRule + 1, () => clause()) })],
  (_, key) => [ruled(key, { all: many(LIMITS.conditionNodesPerRule, () => ({ all: [] })) })],
  (_, key) => [ruled(key, nested(LIMITS.conditionDepth))],
  (_, key) => [ruled(key, clause({ values: many(LIMITS.valuesPerClause + 1, (n) => n) }))],
  (_, key) => [
    flag(key, {
      rules: many(LIMITS.regexClausesPerFlag + 1, (n) => rule(clause({ op: 'matches', values: ['a'] }), `r${n}`)),
    }),
  ],
  (_, key) => [ruled(key, clause({ op: 'matches', values: many(LIMITS.regexPatternsPerFlag + 1, (n) => `a${n}`) }))],
  (_, key) => [ruled(key, clause({ op: 'matches', values: ['a'.repeat(LIMITS.regexPatternUnits + 1)] }))],
  (_, key) => [
    flag(key, {
      targets: many(LIMITS.targetsPerFlag + 1, (n) => ({ contextKind: `k${n}`, variation: 'yes', keys: ['u'] })),
    }),
  ],
  (_, key) => [
    flag(key, {
      targets: [{ contextKind: 'user', variation: 'yes', keys: many(LIMITS.targetKeysPerFlag + 1, (n) => `u${n}`) }],
    }),
  ],
  (_, key) => [
    flag(key, {
      prerequisites: many(LIMITS.prerequisitesPerFlag + 1, (n) => ({ flag: `f${n}`, variations: ['yes'] })),
    }),
  ],
  (_, key) =>
    many(LIMITS.referenceDepth + 2, (n) =>
      flag(`${key}-${n}`, { prerequisites: [{ flag: `${key}-${n + 1}`, variations: ['yes'] }] }),
    ),
  (_, key) => [flag(key, { fallthrough: { rollout: { weights: weights(LIMITS.rolloutWeights + 1, 1) } } })],
  (_, key) => [
    flag(key, { fallthrough: { rollout: { weights: weights(1, 100_000), seed: 's'.repeat(LIMITS.seedChars + 1) } } }),
  ],
  (_, key) => [ruled(key, clause({ values: ['x'.repeat(LIMITS.clauseStringBytes + 1)] }))],
  (_, key) => [ruled(key, clause({ attribute: 'x'.repeat(LIMITS.clauseStringBytes + 1) }))],
  (_, key) => [flag(key, { requires: many(LIMITS.requiresPerDefinition + 1, (n) => `feature-${n}`) })],
  (_, key) => [segment(key, { rules: many(LIMITS.segmentRules + 1, () => ({ when: clause() })) })],
  (_, key) => [ruled(key, { segment: many(LIMITS.segmentsPerClause + 1, (n) => `s${n}`) })],
  (_, key) => [segment(key), chunk(key, { keys: many(LIMITS.keysPerSegmentChunk + 1, (n) => `u${n}`).sort() })],
  (_, key) => [segment(key), chunk(key, { keys: ['u'.repeat(LIMITS.targetingKeyBytes + 1)] })],
  (_, key) => [flag(key, { variations: [{ key: 'yes', value: 'x'.repeat(LIMITS.valueBytes + 1) }] })],
  (_, key) => [
    flag(key, {
      variations: many(6, (n) => ({ key: `v${n}`, value: 'x'.repeat(LIMITS.flagValueBytes / 6 + 100) })),
    }),
  ],
  (_, key) => [flag(key, { type: 'json', variations: [{ key: 'yes', value: deepValue(LIMITS.valueDepth + 1) }] })],
  (_, key) => [segment(key, { rules: [{ when: nested(LIMITS.conditionDepth) }] })],
];

const deepValue = (depth: number): unknown => many(depth, () => 0).reduce<unknown>((inner) => [inner], 1);

const cycle = (random: SeededRandom, key: string, of: (key: string, next: string) => RawDefinition) => {
  const count = random.between(1, 6);
  return many(count, (n) => of(`${key}-${n}`, `${key}-${(n + 1) % count}`));
};

const PATTERNS = [
  '(a+)+$',
  '(a|a)*b',
  '((a{1,100}){1,100}){1,100}',
  '(?=a)',
  '(a)\\1',
  '[',
  '(',
  '*',
  'a{1001}',
  '\\',
  '(?<name>a)(?<name>b)',
  '[\\p{Nowhere}]',
  '(?i)'.repeat(60),
  '('.repeat(120) + ')'.repeat(120),
  'x*'.repeat(100),
  '\u0000',
  '\ud800',
];

const WRONG: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  1e308,
  '',
  'x',
  '__proto__',
  'x'.repeat(5_000),
  [],
  [[]],
  [null],
  {},
  { key: {} },
  { __proto__: 1, constructor: { prototype: 1 } },
  '\ud800',
  'é 漢 🌍',
];

/** A member somewhere in it becomes something else, is gone or comes twice. */
function distort(value: unknown, random: SeededRandom): unknown {
  if (Array.isArray(value)) {
    if (value.length === 0 || random.next() < 0.3) {
      return random.pick([[...value, ...value], [...value, random.pick(WRONG)], random.pick(WRONG)]);
    }
    const at = random.below(value.length);
    return value.map((item: unknown, index) => (index === at ? distort(item, random) : item));
  }
  if (typeof value !== 'object' || value === null || random.next() < 0.15) return random.pick(WRONG);
  const entries: [string, unknown][] = Object.entries(value);
  const at = random.below(entries.length);
  const way = random.below(5);
  if (way === 0) return Object.fromEntries(entries.filter((_, index) => index !== at));
  if (way === 1) return Object.fromEntries([...entries, ['unknown', random.pick(WRONG)]]);
  return Object.fromEntries(
    entries.map(([name, member], index) => [name, index === at ? distort(member, random) : member]),
  );
}

/** Has every part that can be distorted. */
const rich = (key: string): FlagDefinition =>
  aFlag(key, {
    prerequisites: [{ flag: 'steady', variations: ['yes', 'no'] }],
    targets: [{ contextKind: 'user', variation: 'yes', keys: ['a', 'b'] }],
    rules: [
      {
        id: 'one',
        when: {
          any: [{ all: [{ attribute: 'n', op: 'lt', values: [1, 2] }] }, { not: { segment: ['members'] } }],
        },
        serve: {
          rollout: {
            weights: [
              { variation: 'yes', weight: 50_000 },
              { variation: 'no', weight: 50_000 },
            ],
          },
        },
      },
      { id: 'two', when: { attribute: 'v', op: 'semverGt', values: ['1.2.3'] }, serve: { variation: 'no' } },
      { id: 'three', when: { attribute: 'ip', op: 'cidr', values: ['10.0.0.0/8'] }, serve: { variation: 'no' } },
      {
        id: 'four',
        when: { attribute: '@now', op: 'after', values: ['2020-01-01T00:00:00Z'] },
        serve: { variation: 'no' },
      },
    ],
  });

const richSegment = (key: string): SegmentDefinition =>
  aSegment(key, { rules: [{ when: { attribute: 'plan', op: 'in', values: ['pro'] }, rollout: { weight: 100 } }] });

const twice = (key: string, member: string): RawDefinition => {
  const text = JSON.stringify(aFlag(key));
  return raw('flag', key, `${text.slice(0, -1)},"${member}":${JSON.stringify(member === 'key' ? `${key}x` : [])}}`);
};

const OTHERS: Readonly<Record<string, Recipe>> = {
  types: (random, key) => {
    const value = random.next() < 0.7 ? rich(key) : richSegment(key);
    return [raw(value.kind, key, JSON.stringify(distort(value, random)) ?? 'undefined')];
  },
  'cycle of flags': (random, key) =>
    cycle(random, key, (own, next) => flag(own, { prerequisites: [{ flag: next, variations: ['yes'] }] })),
  'cycle of segments': (random, key) =>
    cycle(random, key, (own, next) => segment(own, { rules: [{ when: { segment: [next] } }] })),
  pattern: (random, key) => [
    ruled(key, clause({ op: 'matches', values: many(random.between(1, 4), () => random.pick(PATTERNS)) })),
  ],
  operator: (random, key) => [
    ruled(key, clause({ op: random.pick(['eval', '__proto__', 'constructor', '', 'IN', 'toString', 7, null]) })),
  ],
  kind: (random, key) => [
    loose(random.pick(['flag', 'other']), key, { ...aFlag(key), kind: random.pick(['other', '', 1]) }),
  ],
  'another key': (_, key) => [raw('flag', key, JSON.stringify(aFlag(`${key}-other`)))],
  duplicates: (random, key) => [
    random.pick([
      twice(key, 'key'),
      twice(key, 'variations'),
      flag(key, { variations: many(3, () => ({ key: 'yes', value: 'yes' })) }),
      flag(key, { rules: many(3, () => rule(clause())) }),
      flag(key, { targets: many(2, () => ({ contextKind: 'user', variation: 'yes', keys: ['u', 'u'] })) }),
      flag(key, { fallthrough: { rollout: { weights: weights(2, 50_000) } } }),
    ]),
  ],
  'the same twice': (_, key) => [flag(key), flag(key, { on: false })],
  numbers: (random, key) => [
    raw(
      'flag',
      key,
      JSON.stringify(aFlag(key)).replace(
        '"off"}',
        `${random.pick(['1e999', '-0', '0x1', 'NaN', '1e-999', '9'.repeat(400)])}}`,
      ),
    ),
  ],
  weights: (random, key) => [
    flag(key, {
      fallthrough: {
        rollout: {
          weights: random.pick([
            [],
            weights(1, 99_999),
            weights(1, -1),
            weights(2, 2 ** 31),
            weights(1, 1.5),
            weights(1, 2 ** 53),
          ]),
        },
      },
    }),
  ],
  references: (random, key) => [
    random.pick([
      flag(key, { offVariation: 'nowhere' }),
      flag(key, { fallthrough: { variation: 'nowhere' } }),
      flag(key, { prerequisites: [{ flag: 'steady', variations: ['nowhere'] }] }),
      flag(key, { prerequisites: [{ flag: 'nowhere', variations: ['yes'] }] }),
      ruled(key, { segment: ['nowhere'] }),
    ]),
  ],
  chunks: (random, key) => [
    ...(random.next() < 0.5 ? [] : [segment(key)]),
    chunk(
      key,
      random.pick([
        { keys: ['b', 'a'] },
        { keys: ['a', 'a'] },
        { prefix: '01'.repeat(40), keys: ['a'] },
        { prefix: 'x', keys: ['a'] },
        { list: 'others', keys: ['a'] },
        { keys: [1, null] },
        { prefix: '0', keys: many(50, (n) => `u${n}`).sort() },
        { keys: ['\ud800'] },
      ]),
    ),
  ],
  bytes: (random, key) => [
    raw(
      'flag',
      key,
      random.pick<string | Buffer>([
        '',
        'null',
        '[]',
        '{',
        '"flag"',
        `\ufeff${JSON.stringify(aFlag(key))}`,
        `${JSON.stringify(aFlag(key))}x`,
        Buffer.from([0xff, 0xfe, 0x00]),
        random.bytes(random.between(1, 300)),
        Buffer.from(JSON.stringify(aFlag(key)).replace('"yes"', '"\\ud800"')),
      ]),
    ),
  ],
  'deep bytes': (random, key) => {
    const depth = random.pick([40, 5_000, 100_000]);
    return [
      raw('flag', key, random.pick(['['.repeat(depth) + ']'.repeat(depth), '{"a":'.repeat(depth), '['.repeat(depth)])),
    ];
  },
  'huge text': (random, key) => [flag(key, { salt: 'x'.repeat(random.between(65, 300_000)) })],
  'huge list': (random, key) => [flag(key, { requires: many(random.between(1_000, 50_000), () => 'x') })],
  requires: (random, key) => [flag(key, { requires: ['a feature of tomorrow', random.pick(['', 'x'])] })],
  names: (random, key) => {
    const name = random.pick([
      '__proto__',
      'constructor',
      'toString',
      '',
      '.',
      '../..',
      'a/b',
      ' ',
      'x'.repeat(2_000),
      '\u0000',
      key,
    ]);
    return [random.next() < 0.5 ? flag(name) : segment(name)];
  },
  'what is steady, broken': (random) => [
    flag(
      'steady',
      random.pick<Loose>([{ type: 5 }, { on: 'yes' }, { variations: [] }, { kind: 'segment' }, { rules: 7 }]),
    ),
  ],
};
const OTHER_NAMES = Object.keys(OTHERS);

/** How often a limit is what is broken: those definitions are large. */
const LIMIT_SHARE = 0.03;

/** Definitions of one hostile revision: from a key set that is trusted, and not to be. `index` keeps keys apart. */
export function poison(
  random: SeededRandom,
  index: number,
): { readonly name: string; readonly definitions: readonly RawDefinition[] } {
  const key = `poison-${index}`;
  if (random.next() < LIMIT_SHARE || index < OVER_LIMITS.length) {
    const at = index < OVER_LIMITS.length ? index : random.below(OVER_LIMITS.length);
    return { name: `limit ${at}`, definitions: OVER_LIMITS[at]?.(random, key) ?? [] };
  }
  const name = random.pick(OTHER_NAMES);
  return { name, definitions: OTHERS[name]?.(random, key) ?? [] };
}
