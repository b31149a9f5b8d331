import { FlagdCore } from '@openfeature/flagd-core';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, limitOf, type PlainWeight, rulesOf, textsOf } from './plain-rules.js';

/** The evaluator that flagd's in-process providers use, from its JSON. */
export const createPeer: CreatePeer = ({ flags, contexts }) => {
  const core = new FlagdCore();
  core.setConfigurations(
    JSON.stringify({ flags: Object.fromEntries(flags.map((flag) => [flag.key, configOf(flag)])) }),
  );
  const own = contexts.map((context) => ({ ...context }));
  const isBoolean = at(flags, 0).type === 'boolean';
  return {
    ask: (flagKey, index) => {
      if (isBoolean) return core.resolveBooleanEvaluation(flagKey, false, at(own, index)).variant ?? 'none';
      return core.resolveStringEvaluation(flagKey, 'default', at(own, index)).variant ?? 'none';
    },
  };
};

function configOf(flag: FlagDefinition): object {
  const branches = rulesOf(flag).flatMap(({ clauses, weights }) => [{ and: clauses.map(testOf) }, serve(weights)]);
  const last = serve(fallthroughOf(flag));
  return {
    state: 'ENABLED',
    variants: Object.fromEntries(flag.variations.map(({ key, value }) => [key, value])),
    defaultVariant: flag.offVariation,
    targeting: branches.length === 0 ? last : { if: [...branches, last] },
  };
}

function serve(weights: readonly PlainWeight[]): object | string {
  if (weights.length === 1) return at(weights, 0).variation;
  return { fractional: weights.map(({ variation, weight }) => [variation, weight / 1_000]) };
}

function testOf(clause: AttributeClause): object {
  const attribute = { var: clause.attribute };
  const [first = ''] = textsOf(clause);
  if (clause.op === 'in') return { in: [attribute, clause.values] };
  if (clause.op === 'gte') return { '>=': [attribute, limitOf(clause)] };
  return clause.op === 'semverGte' ? { sem_ver: [attribute, '>=', first] } : { starts_with: [attribute, first] };
}
