import type { Json } from '@guidon/protocol';
import type {
  Condition,
  Definition,
  FlagDefinition,
  Rollout,
  SegmentDefinition,
  SegmentKeysDefinition,
  SegmentRule,
  Serve,
} from './definitions.js';
import type { Parsed } from './input.js';
import { parseDefinition } from './parse-definition.js';

/**
 * The bytes of a definition: JSON in UTF-8, members in one fixed order, no white space. Equal definitions give equal bytes, so that
 * the digest of an unchanged definition does not change. Members that definitions do not have (a rule's name) are left out; the
 * members of flag values keep their written order.
 */
export function encodeDefinition(definition: Definition): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(inOrder(definition)));
}

/** The definition in `bytes`, or what is wrong: `malformed-body` when they are not JSON in UTF-8. */
export function decodeDefinition(bytes: Uint8Array): Parsed<Definition> {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    return { ok: false, issues: [{ pointer: '', code: 'malformed-body', detail: 'not JSON in UTF-8' }] };
  }
  return parseDefinition(value);
}

function inOrder(definition: Definition): Json {
  if (definition.kind === 'flag') return flagInOrder(definition);
  return definition.kind === 'segment' ? segmentInOrder(definition) : chunkInOrder(definition);
}

function flagInOrder(flag: FlagDefinition): Json {
  const { kind, key, type, clientSide, on, offVariation, salt, requires } = flag;
  return {
    kind,
    key,
    type,
    clientSide,
    variations: flag.variations.map((variation) => ({ key: variation.key, value: variation.value })),
    on,
    offVariation,
    prerequisites: flag.prerequisites.map((entry) => ({ flag: entry.flag, variations: entry.variations })),
    targets: flag.targets.map(({ contextKind, variation, keys }) => ({ contextKind, variation, keys })),
    rules: flag.rules.map((rule) => ({
      id: rule.id,
      when: conditionInOrder(rule.when),
      serve: serveInOrder(rule.serve),
    })),
    fallthrough: serveInOrder(flag.fallthrough),
    salt,
    requires,
  };
}

function segmentInOrder({ kind, key, rules, salt, requires }: SegmentDefinition): Json {
  return { kind, key, rules: rules.map(segmentRuleInOrder), salt, requires };
}

function segmentRuleInOrder({ when, rollout }: SegmentRule): Json {
  if (rollout === undefined) return { when: conditionInOrder(when) };
  return { when: conditionInOrder(when), rollout: { ...subjectInOrder(rollout), weight: rollout.weight } };
}

function chunkInOrder({ kind, segment, list, contextKind, prefix, keys }: SegmentKeysDefinition): Json {
  return { kind, segment, list, contextKind, prefix, keys };
}

function serveInOrder(serve: Serve): Json {
  return 'variation' in serve ? { variation: serve.variation } : { rollout: rolloutInOrder(serve.rollout) };
}

function rolloutInOrder(rollout: Rollout): Json {
  const { weights, hash, seed, layer, experiment } = rollout;
  return {
    ...subjectInOrder(rollout),
    weights: weights.map(({ variation, weight }) => ({ variation, weight })),
    ...(hash === undefined ? {} : { hash }),
    ...(seed === undefined ? {} : { seed }),
    ...(layer === undefined ? {} : { layer: { key: layer.key, from: layer.from, to: layer.to } }),
    ...(experiment === undefined ? {} : { experiment }),
  };
}

function subjectInOrder({ contextKind, bucketBy }: { contextKind?: string; bucketBy?: string }): Record<string, Json> {
  return { ...(contextKind === undefined ? {} : { contextKind }), ...(bucketBy === undefined ? {} : { bucketBy }) };
}

function conditionInOrder(condition: Condition): Json {
  if ('all' in condition) return { all: condition.all.map(conditionInOrder) };
  if ('any' in condition) return { any: condition.any.map(conditionInOrder) };
  if ('not' in condition) return { not: conditionInOrder(condition.not) };
  const negated = condition.negate === undefined ? {} : { negate: condition.negate };
  if ('segment' in condition) return { segment: condition.segment, ...negated };
  const { contextKind, attribute, op, values } = condition;
  return { ...(contextKind === undefined ? {} : { contextKind }), attribute, op, values, ...negated };
}
