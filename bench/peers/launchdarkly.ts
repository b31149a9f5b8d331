import { init, type LDContext } from '@launchdarkly/node-server-sdk';
import { TestData } from '@launchdarkly/node-server-sdk/integrations';
import type { CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, forOperator, type PlainWeight, rulesOf } from './plain-rules.js';

const OPERATORS = {
  in: 'in',
  gte: 'greaterThanOrEqual',
  semverGte: 'semVerGreaterThanOrEqual',
  startsWith: 'startsWith',
} as const;

/** Flags in the SDK's own JSON from its test data source; no events, no connection. Its evaluations are promises. */
export const createPeer: CreatePeer = async ({ flags, contexts }) => {
  const data = new TestData();
  for (const flag of flags) await data.usePreconfiguredFlag(flagOf(flag));
  const logger = { error() {}, warn() {}, info() {}, debug() {} };
  const client = init('sdk-bench', { updateProcessor: data.getFactory(), sendEvents: false, logger });
  await client.waitForInitialization({ timeout: 10 });
  const own = contexts.map(
    ({ targetingKey, ...attributes }): LDContext => ({
      kind: 'user',
      key: targetingKey,
      ...attributes,
    }),
  );
  return {
    ask: async (flagKey, index) => {
      const { value } = await client.variationDetail(flagKey, at(own, index), 'default');
      return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    },
    close: () => client.close(),
  };
};

function flagOf(flag: FlagDefinition): object {
  const indexOf = (variation: string): number => flag.variations.findIndex(({ key }) => key === variation);
  const serve = (weights: readonly PlainWeight[]): object =>
    weights.length === 1
      ? { variation: indexOf(at(weights, 0).variation) }
      : {
          rollout: {
            variations: weights.map(({ variation, weight }) => ({ variation: indexOf(variation), weight })),
          },
        };
  return {
    key: flag.key,
    version: 1,
    on: true,
    salt: flag.salt,
    variations: flag.variations.map(({ value }) => value),
    offVariation: indexOf(flag.offVariation),
    fallthrough: serve(fallthroughOf(flag)),
    rules: rulesOf(flag).map(({ id, clauses, weights }) => ({
      id,
      clauses: clauses.map(({ attribute, op, values }) => ({
        contextKind: 'user',
        attribute,
        op: forOperator(op, OPERATORS),
        values,
      })),
      ...serve(weights),
    })),
  };
}
