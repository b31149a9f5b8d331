import type { Condition, FlagDefinition, FlagSet } from '@guidon/engine';

/**
 * The three workloads every benchmark shares.
 * W1: one boolean flag without rules, 50 % rollout by targeting key.
 * W2: five rules of two clauses. In rules 1-4 the first clause passes and the second fails, so all ten clauses are evaluated; rule 5
 *     matches everybody and splits 30/70 by targeting key. Rules 1-4 would serve `off`.
 * W3: 200 flags like W2 with keys, constants and salts of their own, all evaluated for one context.
 */
export const W1_FLAG = 'w1';
export const W2_FLAG = 'w2';
export const W3_FLAG_COUNT = 200;
export const CONTEXT_COUNT = 10_000;

/** Ten attributes; every iteration takes the next context, so that no cache per context can help. */
export interface WorkloadContext {
  readonly targetingKey: string;
  readonly email: string;
  readonly country: string;
  readonly plan: string;
  readonly age: number;
  readonly appVersion: string;
  readonly platform: string;
  readonly sessions: number;
  readonly company: string;
  readonly beta: boolean;
}

const COUNTRIES = ['AT', 'BE', 'CH', 'DE', 'ES', 'FR', 'IT', 'NL', 'PL', 'SE'];
const OTHER_COUNTRIES = ['AR', 'BR', 'CL', 'CO', 'EC', 'GY', 'PE', 'PY', 'SR', 'UY'];

export function workloadContexts(): WorkloadContext[] {
  return Array.from({ length: CONTEXT_COUNT }, (_, index) => ({
    targetingKey: `user-${100_000 + index * 7}`,
    email: `user-${index}@example.com`,
    country: COUNTRIES[index % COUNTRIES.length] ?? '',
    plan: 'pro',
    age: 18 + (index % 60),
    appVersion: `2.${index % 10}.${index % 7}`,
    platform: 'ios',
    sessions: 1 + (index % 50),
    company: `company-${index % 97}`,
    beta: index % 2 === 0,
  }));
}

const BOOLEAN = [
  { key: 'on', value: true },
  { key: 'off', value: false },
] as const;
const SPLIT = [
  { key: 'treatment', value: 'treatment' },
  { key: 'control', value: 'control' },
  { key: 'off', value: 'off' },
] as const;

export function w1Flag(): FlagDefinition {
  const weights = BOOLEAN.map(({ key }) => ({ variation: key, weight: 50_000 }));
  return { ...flagOf(W1_FLAG, 'boolean', BOOLEAN), fallthrough: { rollout: { weights } } };
}

/** `index` perturbs the constants without changing which clause passes. */
export function w2Flag(key: string = W2_FLAG, index = 0): FlagDefinition {
  const conditions: Condition[] = [
    {
      all: [
        { attribute: 'country', op: 'in', values: rotated(COUNTRIES, index) },
        { attribute: 'age', op: 'gte', values: [200 + index] },
      ],
    },
    {
      all: [
        { attribute: 'appVersion', op: 'semverGte', values: [`1.${index % 10}.0`] },
        { attribute: 'email', op: 'startsWith', values: [`admin-${index === 0 ? '' : index}`] },
      ],
    },
    {
      all: [
        { attribute: 'plan', op: 'in', values: ['pro'] },
        { attribute: 'country', op: 'in', values: rotated(OTHER_COUNTRIES, index) },
      ],
    },
    {
      all: [
        { attribute: 'sessions', op: 'gte', values: [1] },
        { attribute: 'appVersion', op: 'semverGte', values: [`9.${index % 10}.0`] },
      ],
    },
  ];
  const weights = [
    { variation: 'treatment', weight: 30_000 },
    { variation: 'control', weight: 70_000 },
  ];
  return {
    ...flagOf(key, 'string', SPLIT),
    rules: [
      ...conditions.map((when, rule) => ({ id: `rule-${rule + 1}`, when, serve: { variation: 'off' } })),
      {
        id: 'rule-5',
        when: {
          all: [
            { attribute: 'email', op: 'startsWith', values: ['user-'] },
            { attribute: 'platform', op: 'in', values: ['ios'] },
          ],
        },
        serve: { rollout: { weights } },
      },
    ],
  };
}

export function w3Flags(count: number = W3_FLAG_COUNT): FlagDefinition[] {
  return Array.from({ length: count }, (_, index) => w2Flag(`w3-${String(index).padStart(4, '0')}`, index));
}

/** The same flags with salts of their own: what no other environment has in memory already, for equal definitions lie there once. */
export function saltedFlags(flags: readonly FlagDefinition[], salt: string): FlagDefinition[] {
  return flags.map((flag) => ({ ...flag, salt: `${salt}-${flag.key}` }));
}

export function flagSetOf(flags: readonly FlagDefinition[]): FlagSet {
  return { flags: new Map(flags.map((flag) => [flag.key, flag])), segments: new Map(), segmentKeys: new Map() };
}

/** Shares of `expected` must hold within 1.5 points and nobody may get `off`: an implementation that fails this is not measured. */
export function assertSplit(
  name: string,
  variations: readonly string[],
  expected: Readonly<Record<string, number>>,
): void {
  const counts = new Map<string, number>();
  for (const variation of variations) counts.set(variation, (counts.get(variation) ?? 0) + 1);
  for (const [variation, count] of counts) {
    const share = count / variations.length;
    if (Math.abs(share - (expected[variation] ?? 0)) > 0.015) {
      throw new Error(`${name}: ${variation} was served to ${(share * 100).toFixed(1)} % of the contexts`);
    }
  }
}

/** What `assertSplit` expects of W1 and of W2/W3. */
export const W1_SPLIT = { on: 0.5, off: 0.5 } as const;
export const W2_SPLIT = { treatment: 0.3, control: 0.7 } as const;

function flagOf(key: string, type: 'boolean' | 'string', variations: FlagDefinition['variations']): FlagDefinition {
  return {
    kind: 'flag',
    key,
    type,
    clientSide: false,
    variations,
    on: true,
    offVariation: 'off',
    prerequisites: [],
    targets: [],
    rules: [],
    fallthrough: { variation: 'off' },
    salt: `salt-${key}`,
    requires: [],
  };
}

function rotated<Item>(items: readonly Item[], by: number): Item[] {
  return items.map((_, index) => items[(index + by) % items.length]).filter((item) => item !== undefined);
}
