import type { Json } from '@guidon/protocol';

/**
 * Definitions: what an evaluator needs of one environment, and nothing else. They are the contract between processes: the
 * control plane writes each as JSON bytes, the manifest names the SHA-256 of those bytes, a node compiles them to a snapshot.
 * Names, descriptions, tags and owners stay in the control plane, so editing them changes no revision.
 */
export type Definition = FlagDefinition | SegmentDefinition | SegmentKeysDefinition;

/** A capability an evaluator must have to serve a definition. Unknown ones make that flag ERROR/PARSE_ERROR and nothing else. */
export type Feature = string;
/** What this evaluator has. The base model needs none. */
export const EVALUATOR_FEATURES: ReadonlySet<Feature> = new Set<Feature>();

/** Otherwise such a flag is served as ERROR/PARSE_ERROR, and so is each flag whose evaluation looks into such a segment. */
export function isServable(definition: { readonly requires: readonly Feature[] }): boolean {
  return definition.requires.every((feature) => EVALUATOR_FEATURES.has(feature));
}

export type FlagType = 'boolean' | 'string' | 'number' | 'json';

export interface FlagDefinition {
  readonly kind: 'flag';
  readonly key: string;
  readonly type: FlagType;
  /** Visible to client (`web`) credentials. */
  readonly clientSide: boolean;
  readonly variations: readonly Variation[];
  readonly on: boolean;
  readonly offVariation: string;
  readonly prerequisites: readonly Prerequisite[];
  readonly targets: readonly Target[];
  readonly rules: readonly Rule[];
  readonly fallthrough: Serve;
  /** Made once; survives every edit, clone of the environment, rename and restore. No dots, 1-64 characters of [A-Za-z0-9_-]. */
  readonly salt: string;
  readonly requires: readonly Feature[];
}

export interface Variation {
  readonly key: string;
  readonly value: Json;
}

export interface Prerequisite {
  readonly flag: string;
  readonly variations: readonly string[];
}

export interface Target {
  readonly contextKind: string;
  readonly variation: string;
  readonly keys: readonly string[];
}

export interface Rule {
  /** [A-Za-z0-9_-]{1,64}, unique in its flag; reported as `ruleId`. */
  readonly id: string;
  readonly when: Condition;
  readonly serve: Serve;
}

export type Serve = { readonly variation: string } | { readonly rollout: Rollout };

export interface Rollout {
  /** Default `user`. */
  readonly contextKind?: string;
  /** Attribute name, or a JSON pointer when it starts with `/`. Default `targetingKey`. */
  readonly bucketBy?: string;
  /** Integers that sum to ROLLOUT_WEIGHT_TOTAL. */
  readonly weights: readonly { readonly variation: string; readonly weight: number }[];
  readonly hash?: 'murmur3';
  /** Replaces the flag's salt: flags that share a seed bucket alike. */
  readonly seed?: string;
  /** Mutual exclusion: entered only when the layer's bucket is in [from, to). */
  readonly layer?: { readonly key: string; readonly from: number; readonly to: number };
  /** Experiment key; its presence makes results carry `inExperiment: true`. */
  readonly experiment?: string;
}

export type Condition =
  | { readonly all: readonly Condition[] }
  | { readonly any: readonly Condition[] }
  | { readonly not: Condition }
  | Clause;

export type Clause = AttributeClause | SegmentClause;

export interface AttributeClause {
  /** Default `user`. */
  readonly contextKind?: string;
  readonly attribute: string;
  readonly op: Operator;
  readonly values: readonly Json[];
  readonly negate?: boolean;
}

export interface SegmentClause {
  readonly segment: readonly string[];
  readonly negate?: boolean;
}

export const OPERATORS = [
  'in',
  'startsWith',
  'endsWith',
  'contains',
  'startsWithIgnoreCase',
  'endsWithIgnoreCase',
  'containsIgnoreCase',
  'matches',
  'lt',
  'lte',
  'gt',
  'gte',
  'before',
  'after',
  'semverEq',
  'semverLt',
  'semverLte',
  'semverGt',
  'semverGte',
  'cidr',
  'exists',
] as const;
export type Operator = (typeof OPERATORS)[number];

export interface SegmentDefinition {
  readonly kind: 'segment';
  readonly key: string;
  readonly rules: readonly SegmentRule[];
  readonly salt: string;
  readonly requires: readonly Feature[];
}

export interface SegmentRule {
  readonly when: Condition;
  readonly rollout?: {
    readonly contextKind?: string;
    readonly bucketBy?: string;
    /** Of ROLLOUT_WEIGHT_TOTAL: in the segment when bucket < weight. */
    readonly weight: number;
  };
}

/**
 * One chunk of a segment's key list: the keys whose hash starts with `prefix`. The chunks of one list are the leaves of a binary
 * trie, so each key belongs in exactly one and adding a key ships one chunk (two when it splits). A chunk without its
 * SegmentDefinition is refused.
 */
export interface SegmentKeysDefinition {
  readonly kind: 'segment-keys';
  readonly segment: string;
  readonly list: 'included' | 'excluded';
  readonly contextKind: string;
  /** Binary digits, '' for the only chunk of a small list: the leading bits of unsigned murmur3_x86_32(utf8(key), seed 0). */
  readonly prefix: string;
  /** Sorted by UTF-8 bytes, no key twice, at most LIMITS.keysPerSegmentChunk. */
  readonly keys: readonly string[];
}

/** The identity of a definition inside its environment. Together with the kind it is the key of the manifest's digest tree. */
export function definitionKey(definition: Definition): string {
  if (definition.kind !== 'segment-keys') return definition.key;
  const { segment, list, prefix, contextKind } = definition;
  return `${segment}/${list}/${prefix}/${contextKind}`;
}

/** Everything one environment serves at one revision. */
export interface FlagSet {
  readonly flags: ReadonlyMap<string, FlagDefinition>;
  readonly segments: ReadonlyMap<string, SegmentDefinition>;
  /** Chunks by `definitionKey`. */
  readonly segmentKeys: ReadonlyMap<string, SegmentKeysDefinition>;
}
