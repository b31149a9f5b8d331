import { FliptClient } from '@flipt-io/flipt-client-js';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, type PlainRule, rulesOf, textsOf } from './plain-rules.js';

/**
 * Its Rust engine in WASM, from a snapshot that our own fetcher hands over. It has no versions: they are compared as numbers that were
 * worked out beforehand, which spares it the parsing that all others do.
 */
export const createPeer: CreatePeer = async ({ flags, contexts }) => {
  const snapshot = { namespace: { key: 'default' }, digest: 'bench', flags: flags.map(flagOf) };
  const client = await FliptClient.init({
    updateInterval: 0,
    fetcher: async () => ({
      ok: true,
      status: 200,
      statusText: 'OK',
      headers: { get: () => null },
      json: async () => snapshot,
    }),
  });
  const own = contexts.map(({ targetingKey: entityId, ...attributes }) => ({
    entityId,
    context: Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [
        name,
        name === 'appVersion' ? String(versionNumber(String(value))) : String(value),
      ]),
    ),
  }));
  const isBoolean = at(flags, 0).type === 'boolean';
  return {
    ask: (flagKey, index) => {
      const request = { flagKey, ...at(own, index) };
      if (isBoolean) return client.evaluateBoolean(request).enabled ? 'on' : 'off';
      return client.evaluateVariant(request).variantKey;
    },
    close: () => client.close(),
  };
};

function versionNumber(version: string): number {
  const [major = 0, minor = 0, patch = 0] = version.split('.').map(Number);
  return major * 1e6 + minor * 1e3 + patch;
}

function flagOf(flag: FlagDefinition): object {
  const common = { key: flag.key, name: flag.key, description: '', enabled: true };
  if (flag.type !== 'boolean') {
    const rules = rulesOf(flag).map((rule, rank) => ruleOf(flag, rule, rank + 1));
    return { ...common, type: 'VARIANT_FLAG_TYPE', rules, rollouts: [] };
  }
  const threshold = { percentage: at(fallthroughOf(flag), 0).weight / 1_000, value: true };
  const rollouts = [{ type: 'THRESHOLD_ROLLOUT_TYPE', rank: 1, threshold }];
  // Who is not in the threshold gets what `enabled` says.
  return { ...common, enabled: false, type: 'BOOLEAN_FLAG_TYPE', rules: [], rollouts };
}

function ruleOf(flag: FlagDefinition, { id, clauses, weights }: PlainRule, rank: number): object {
  const segment = {
    key: `${flag.key}-${id}`,
    name: id,
    matchType: 'ALL_SEGMENT_MATCH_TYPE',
    constraints: clauses.map((clause, index) => ({ id: `${id}-${index}`, ...constraintOf(clause) })),
  };
  return {
    id: `${flag.key}-${id}`,
    rank,
    segmentOperator: 'OR_SEGMENT_OPERATOR',
    segments: [segment],
    distributions: weights.map(({ variation, weight }) => ({
      id: variation,
      ruleId: `${flag.key}-${id}`,
      variantId: variation,
      variantKey: variation,
      variantAttachment: '',
      rollout: weight / 1_000,
    })),
  };
}

function constraintOf(clause: AttributeClause): object {
  const { attribute: property, op } = clause;
  const [first = ''] = textsOf(clause);
  const text = { type: 'STRING_CONSTRAINT_COMPARISON_TYPE', property };
  const number = { type: 'NUMBER_CONSTRAINT_COMPARISON_TYPE', property, operator: 'gte' };
  if (op === 'in') return { ...text, operator: 'isoneof', value: JSON.stringify(textsOf(clause)) };
  if (op === 'startsWith') return { ...text, operator: 'prefix', value: first };
  return { ...number, value: op === 'gte' ? first : String(versionNumber(first)) };
}
