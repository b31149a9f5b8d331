import { InMemStorageProvider, Unleash } from 'unleash-client';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, rulesOf, textsOf } from './plain-rules.js';

type Feature = NonNullable<ReturnType<Unleash['getFeatureToggleDefinition']>>;

/** Features from the bootstrap; an interval of 0 fetches nothing. Metrics are off. */
export const createPeer: CreatePeer = async ({ flags, contexts }) => {
  const unleash = new Unleash({
    appName: 'bench',
    url: 'http://127.0.0.1:9/api',
    refreshInterval: 0,
    disableMetrics: true,
    skipInstanceCountWarning: true,
    storageProvider: new InMemStorageProvider(),
    bootstrap: { data: JSON.parse(JSON.stringify(flags.map(featureOf))) as Feature[] },
  });
  await new Promise((resolve) => unleash.once('ready', resolve));
  const own = contexts.map(({ targetingKey, ...attributes }) => ({
    userId: targetingKey,
    properties: Object.fromEntries(Object.entries(attributes).map(([name, value]) => [name, String(value)])),
  }));
  const isBoolean = at(flags, 0).type === 'boolean';
  return {
    ask: (flagKey, index) => {
      if (isBoolean) return unleash.isEnabled(flagKey, at(own, index)) ? 'on' : 'off';
      return unleash.getVariant(flagKey, at(own, index)).name;
    },
    close: () => unleash.destroy(),
  };
};

function featureOf(flag: FlagDefinition): object {
  const rollout = (percent: number): object => ({
    rollout: String(percent),
    stickiness: 'userId',
    groupId: flag.key,
  });
  const strategies = rulesOf(flag).map(({ clauses, weights }) => ({
    name: 'flexibleRollout',
    parameters: rollout(100),
    constraints: clauses.map(constraintOf),
    variants: weights.map(({ variation, weight }) => ({
      name: variation,
      weight: weight / 100,
      weightType: 'variable',
      stickiness: 'userId',
      payload: { type: 'string', value: variation },
    })),
    segments: [],
  }));
  const [first] = fallthroughOf(flag);
  const whole = {
    name: 'flexibleRollout',
    parameters: rollout((first?.weight ?? 0) / 1_000),
    constraints: [],
  };
  return {
    name: flag.key,
    type: 'release',
    project: 'bench',
    enabled: true,
    stale: false,
    impressionData: false,
    strategies: flag.type === 'boolean' ? [whole] : strategies,
    variants: [],
  };
}

/** There is no "version from": it is the opposite of "version below". */
function constraintOf(clause: AttributeClause): object {
  const { attribute: contextName, op } = clause;
  const values = textsOf(clause);
  const plain = { contextName, inverted: false, values };
  const [value] = values;
  const one = { contextName, values: [], ...(value === undefined ? {} : { value }) };
  if (op === 'in') return { ...plain, operator: 'IN' };
  if (op === 'startsWith') return { ...plain, operator: 'STR_STARTS_WITH' };
  return op === 'gte'
    ? { ...one, operator: 'NUM_GTE', inverted: false }
    : { ...one, operator: 'SEMVER_LT', inverted: true };
}
