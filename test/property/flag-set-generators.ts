import {
  type AttributeClause,
  type Clause,
  type Condition,
  type Definition,
  type FlagDefinition,
  hashText,
  OPERATORS,
  type Rollout,
  type SegmentDefinition,
  type SegmentKeysDefinition,
  type Serve,
} from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import fc from 'fast-check';
import { ADDRESSES, INSTANTS, KINDS, NUMBERS, PATHS, TEXTS, VERSIONS } from './context-generators.js';

const contextKind = fc.option(fc.constantFrom(...KINDS), { freq: 2, nil: undefined });
const VARIATIONS = ['on', 'off', 'third'] as const;
const variation = fc.constantFrom(...VARIATIONS);

const CIDRS = [
  '10.0.0.0/8',
  '10.0.0.1',
  '0.0.0.0/0',
  '192.168.0.0/15',
  '::/0',
  '::1',
  '::ffff:10.0.0.0/104',
  '2001:db8::/33',
  'fe80::1/10',
];
const PATTERNS = ['^a', 'user-\\d+$', '(?i)STRASSE', '.', '^$', 'é{3}$', '\\p{Han}', '(a|b)+c$'];

function valuesOf(op: AttributeClause['op']): fc.Arbitrary<Json[]> {
  const some = (pool: readonly Json[]): fc.Arbitrary<Json[]> =>
    fc.oneof(
      { arbitrary: fc.array(fc.constantFrom(...pool), { minLength: 1, maxLength: 3 }), weight: 4 },
      { arbitrary: fc.array(fc.constantFrom(...pool), { minLength: 10, maxLength: 30 }), weight: 1 },
    );
  if (op === 'in') return some([...TEXTS, ...NUMBERS, true, false, '10.0.0.1']);
  if (op === 'matches') return fc.array(fc.constantFrom(...PATTERNS), { minLength: 1, maxLength: 2 });
  if (op === 'exists') return fc.constantFrom<Json[]>([true], [false]);
  if (op === 'cidr') return some(CIDRS);
  if (op === 'before' || op === 'after') return some([...INSTANTS, ...NUMBERS]);
  if (op.startsWith('semver')) return some(VERSIONS);
  if (op === 'lt' || op === 'lte' || op === 'gt' || op === 'gte') {
    return some(NUMBERS);
  }
  return some([...TEXTS, ...ADDRESSES.map((address) => address.slice(0, 3))]);
}

function optional<T extends object>(members: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(members).filter(([, member]) => member !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>;
  };
}

const attributeClause: fc.Arbitrary<AttributeClause> = fc
  .record({
    contextKind,
    attribute: fc.constantFrom(...PATHS),
    op: fc.constantFrom(...OPERATORS),
    negate: fc.option(fc.boolean(), { nil: undefined }),
  })
  .chain(({ contextKind: kind, negate, ...clause }) =>
    valuesOf(clause.op).map((values) => ({ ...clause, values, ...optional({ contextKind: kind, negate }) })),
  );

const nowClause: fc.Arbitrary<AttributeClause> = fc
  .constantFrom('before' as const, 'after' as const)
  .chain((op) => valuesOf(op).map((values) => ({ attribute: '@now', op, values })));

/** Meets the long arrays of the contexts: some flags run out of fuel, some just do not. */
const costlyClause: fc.Arbitrary<AttributeClause> = fc
  .constantFrom(250, 333, 499, 500, 502)
  .map((count) => ({ attribute: 'tags', op: 'lt', values: new Array<Json>(count).fill(-1e9) }));

function clauseOf(segments: readonly string[]): fc.Arbitrary<Clause> {
  const segment = fc.constantFrom('nowhere', ...segments);
  return fc.oneof(
    { arbitrary: attributeClause, weight: 12 },
    { arbitrary: nowClause, weight: 1 },
    { arbitrary: costlyClause, weight: 1 },
    {
      arbitrary: fc
        .tuple(fc.array(segment, { maxLength: 3 }), fc.option(fc.boolean(), { nil: undefined }))
        .map(([keys, negate]) => ({ segment: keys, ...optional({ negate }) })),
      weight: 4,
    },
  );
}

function conditionOf(segments: readonly string[]): fc.Arbitrary<Condition> {
  const clause = clauseOf(segments);
  const node = fc.letrec<{ node: Condition }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, depthSize: 'small', withCrossShrink: true },
      clause,
      fc.array(tie('node'), { maxLength: 3 }).map((all) => ({ all })),
      fc.array(tie('node'), { maxLength: 3 }).map((any) => ({ any })),
      tie('node').map((not) => ({ not })),
    ),
  })).node;
  return node;
}

const weights = fc
  .array(fc.tuple(variation, fc.constantFrom(0, 1, 1_000, 50_000, 100_000, 33_333)), { minLength: 1, maxLength: 4 })
  .map((entries) => {
    let left = 100_000;
    const list = entries.map(([key, wanted]) => {
      const weight = Math.min(left, wanted);
      left -= weight;
      return { variation: key, weight };
    });
    return left === 0 ? list : [...list, { variation: 'off', weight: left }];
  });

const bucketBy = fc.option(fc.constantFrom('targetingKey', '/targetingKey', 'age', 'email', '/address/city', 'tags'), {
  freq: 2,
  nil: undefined,
});

const rollout: fc.Arbitrary<Rollout> = fc
  .record({
    contextKind,
    bucketBy,
    seed: fc.option(fc.constantFrom('seed', 'ключ', 'abc', 'abcd'), { freq: 4, nil: undefined }),
    layer: fc.option(
      fc.record({
        key: fc.constantFrom('l1', 'l22', 'l333'),
        from: fc.constantFrom(0, 20_000, 50_000),
        to: fc.constantFrom(50_000, 80_560, 100_000),
      }),
      { freq: 3, nil: undefined },
    ),
    experiment: fc.option(fc.constant('experiment-1'), { freq: 3, nil: undefined }),
    weights,
  })
  .map(({ weights: list, ...rest }) => ({ weights: list, ...optional(rest) }));

const serve: fc.Arbitrary<Serve> = fc.oneof(
  variation.map((key) => ({ variation: key })),
  rollout.map((chosen) => ({ rollout: chosen })),
);

const TARGETING_KEYS = ['user-1', 'user-2', 'user-3', 'admin-7', 'ключ', '漢字', '42', 'multi'] as const;

/** Each key at most once for one kind. */
const targets = fc
  .array(
    fc.record({
      contextKind: fc.constantFrom<string>('user', 'organization', '__proto__'),
      variation,
      keys: fc.uniqueArray(fc.constantFrom<string>(...TARGETING_KEYS), { maxLength: 3 }),
    }),
    { maxLength: 3 },
  )
  .map((list) => {
    const seen = new Set<string>();
    return list.map((target) => ({
      ...target,
      keys: target.keys.filter((key) => {
        const name = `${target.contextKind} ${key}`;
        return !seen.has(name) && seen.add(name);
      }),
    }));
  });

const VALUES: readonly Json[][] = [
  ['first', '', '🌍'],
  [0, 1.5, -(2 ** 53 - 1)],
  [{ a: [1, null, { b: '' }], ключ: true }, [], null],
];
const TYPES = ['string', 'number', 'json'] as const;

function flagOf(index: number, segments: readonly string[]): fc.Arbitrary<FlagDefinition> {
  const earlier = Array.from({ length: index }, (_, position) => `flag-${position}`);
  const prerequisite = fc.record({
    flag: fc.constantFrom('nowhere', ...earlier),
    variations: fc.uniqueArray(variation, { minLength: 1, maxLength: 3 }),
  });
  return fc
    .record({
      valueIndex: fc.nat(TYPES.length - 1),
      clientSide: fc.boolean(),
      on: fc.boolean().chain((isOn) => (isOn ? fc.constant(true) : fc.boolean())),
      offVariation: variation,
      prerequisites: fc.array(prerequisite, { maxLength: index === 0 ? 0 : 2 }),
      targets,
      conditions: fc.array(fc.tuple(conditionOf(segments), serve), { maxLength: 4 }),
      fallthrough: serve,
      salt: fc.constantFrom('s', 'salt', 'salt-1', 'salt_22'),
      requires: fc.constantFrom<string[]>(...new Array<string[]>(12).fill([]), ['future']),
    })
    .map(({ valueIndex, conditions, ...flag }) => ({
      ...flag,
      kind: 'flag',
      key: `flag-${index}`,
      type: TYPES[valueIndex] ?? 'json',
      variations: VARIATIONS.map((key, position) => ({ key, value: VALUES[valueIndex]?.[position] ?? null })),
      rules: conditions.map(([when, served], position) => ({ id: `rule-${position}`, when, serve: served })),
    }));
}

function segmentOf(index: number): fc.Arbitrary<SegmentDefinition> {
  const earlier = Array.from({ length: index }, (_, position) => `segment-${position}`);
  const segmentRollout = fc
    .record({ contextKind, bucketBy, weight: fc.constantFrom(0, 1, 50_000, 100_000) })
    .map(({ weight, ...rest }) => ({ weight, ...optional(rest) }));
  return fc
    .record({
      rules: fc.array(
        fc
          .tuple(conditionOf(earlier), fc.option(segmentRollout, { nil: undefined }))
          .map(([when, chosen]) => ({ when, ...optional({ rollout: chosen }) })),
        { maxLength: 3 },
      ),
      salt: fc.constantFrom('seg', 'seg-salt'),
      requires: fc.constantFrom<string[]>(...new Array<string[]>(12).fill([]), ['future']),
    })
    .map((segment) => ({ kind: 'segment', key: `segment-${index}`, ...segment }));
}

/** One key list, whole or as the leaves of a trie of depth 1 and 2. */
function keyListOf(segment: string): fc.Arbitrary<SegmentKeysDefinition[]> {
  return fc
    .record({
      list: fc.constantFrom('included' as const, 'excluded' as const),
      contextKind: fc.constantFrom('user', 'organization'),
      keys: fc.uniqueArray(fc.constantFrom<string>(...TARGETING_KEYS), { minLength: 1 }),
      prefixes: fc.constantFrom([''], ['0', '1'], ['00', '01', '1']),
    })
    .map(({ list, contextKind: kind, keys, prefixes }) =>
      prefixes.map((prefix) => ({
        kind: 'segment-keys' as const,
        segment,
        list,
        contextKind: kind,
        prefix,
        keys: keys
          .filter((key) => hashText(key).toString(2).padStart(32, '0').startsWith(prefix))
          .sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b))),
      })),
    )
    .map((chunks) => chunks.filter((chunk) => chunk.keys.length > 0));
}

const SEGMENTS = ['segment-0', 'segment-1', 'segment-2'];

/** Definitions of one environment: every operator, condition tree, reference and rollout of the model. */
export const definitions: fc.Arbitrary<Definition[]> = fc
  .tuple(
    fc.tuple(...[0, 1, 2, 3, 4].map((index) => flagOf(index, SEGMENTS))),
    fc.tuple(segmentOf(0), segmentOf(1), segmentOf(2)),
    fc.array(fc.constantFrom(...SEGMENTS).chain(keyListOf), { maxLength: 4 }),
  )
  .map(([flags, segments, lists]) => {
    const seen = new Set<string>();
    const distinct = lists.filter(([chunk]) => {
      const name = `${chunk?.segment} ${chunk?.list} ${chunk?.contextKind}`;
      return chunk !== undefined && !seen.has(name) && seen.add(name);
    });
    return [...flags, ...segments, ...distinct.flat()];
  });
