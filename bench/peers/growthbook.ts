import { GrowthBookClient } from '@growthbook/growthbook';
import type { AttributeClause, CreatePeer, FlagDefinition } from '../side-by-side/peer.js';
import { at, fallthroughOf, limitOf, type PlainWeight, rulesOf, textsOf } from './plain-rules.js';

/** The client for many users, from a payload; nothing is tracked. A prefix is a pattern here: there is no other operator for it. */
export const createPeer: CreatePeer = ({ flags, contexts }) => {
  const features = Object.fromEntries(flags.map((flag) => [flag.key, featureOf(flag)]));
  const client = new GrowthBookClient().initSync({ payload: { features } });
  const own = contexts.map(({ targetingKey, ...attributes }) => ({ attributes: { id: targetingKey, ...attributes } }));
  return {
    ask: (flagKey, index) => {
      const { value } = client.evalFeature(flagKey, at(own, index));
      return typeof value === 'boolean' ? (value ? 'on' : 'off') : String(value);
    },
    close: () => client.destroy(),
  };
};

function featureOf(flag: FlagDefinition) {
  const valueUnder = (variation: string) => flag.variations.find(({ key }) => key === variation)?.value;
  const serve = (weights: readonly PlainWeight[]) =>
    weights.length === 1
      ? { force: valueUnder(at(weights, 0).variation) }
      : {
          key: flag.key,
          seed: flag.salt,
          hashAttribute: 'id',
          variations: weights.map(({ variation }) => valueUnder(variation)),
          weights: weights.map(({ weight }) => weight / 100_000),
        };
  const rules = rulesOf(flag).map(({ id, clauses, weights }) => ({
    id,
    condition: Object.fromEntries(clauses.map((clause) => [clause.attribute, testOf(clause)])),
    ...serve(weights),
  }));
  return { defaultValue: valueUnder(flag.offVariation), rules: [...rules, serve(fallthroughOf(flag))] };
}

function testOf(clause: AttributeClause): object {
  const [first = ''] = textsOf(clause);
  if (clause.op === 'in') return { $in: clause.values };
  if (clause.op === 'gte') return { $gte: limitOf(clause) };
  return clause.op === 'semverGte' ? { $vgte: first } : { $regex: `^${first}` };
}
