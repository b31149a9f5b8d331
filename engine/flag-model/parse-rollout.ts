import { LIMITS, ROLLOUT_WEIGHT_TOTAL } from '@guidon/protocol';
import type { Rollout, SegmentRule, Serve } from './definitions.js';
import type { Input, ObjectInput } from './input.js';
import { asContextKind, asKey } from './keys.js';
import { asAttributePathText } from './parse-condition.js';
import { codePointCount } from './text.js';

type Weight = Rollout['weights'][number];

/** Keys that a flag's targeting may serve. Undefined when the variations did not parse: then nothing is known to dangle. */
export type VariationKeys = ReadonlySet<string> | undefined;

export function asVariationKey(input: Input, known: VariationKeys): string | undefined {
  const key = asKey(input);
  if (key === undefined || known === undefined || known.has(key)) return key;
  return input.fail('dangling-reference', `the flag has no variation ${key}`);
}

/** `{variation}` or `{rollout}`. */
export function asServe(input: Input, known: VariationKeys): Serve | undefined {
  const members = input.asObject(['variation', 'rollout']);
  if (members === undefined) return undefined;
  if (members.has('variation') === members.has('rollout')) {
    return input.fail('validation-failed', 'must have exactly one of variation, rollout');
  }
  if (members.has('rollout')) {
    const rollout = members.read('rollout', (member) => asRollout(member, known));
    return rollout && { rollout };
  }
  const variation = members.read('variation', (member) => asVariationKey(member, known));
  return variation === undefined ? undefined : { variation };
}

function asRollout(input: Input, known: VariationKeys): Rollout | undefined {
  const members = input.asObject(['contextKind', 'bucketBy', 'weights', 'hash', 'seed', 'layer', 'experiment']);
  if (members === undefined) return undefined;
  const subject = readSubject(members);
  const weights = members.read('weights', (member) => asWeights(member, known));
  const hash = members.readOptional('hash', (member) => member.asOneOf(['murmur3']));
  const seed = members.readOptional('seed', asSeed);
  const layer = members.readOptional('layer', asLayer);
  const experiment = members.readOptional('experiment', asKey);
  if (weights === undefined) return undefined;
  return {
    ...subject,
    weights,
    ...(hash === undefined ? {} : { hash }),
    ...(seed === undefined ? {} : { seed }),
    ...(layer === undefined ? {} : { layer }),
    ...(experiment === undefined ? {} : { experiment }),
  };
}

/** The rollout of a segment's rule: one weight instead of many. */
export function asSegmentRollout(input: Input): SegmentRule['rollout'] | undefined {
  const members = input.asObject(['contextKind', 'bucketBy', 'weight']);
  if (members === undefined) return undefined;
  const subject = readSubject(members);
  const weight = members.read('weight', (member) => member.asInteger(0, ROLLOUT_WEIGHT_TOTAL));
  return weight === undefined ? undefined : { ...subject, weight };
}

function readSubject(members: ObjectInput): { contextKind?: string; bucketBy?: string } {
  const contextKind = members.readOptional('contextKind', asContextKind);
  const bucketBy = members.readOptional('bucketBy', asBucketBy);
  return { ...(contextKind === undefined ? {} : { contextKind }), ...(bucketBy === undefined ? {} : { bucketBy }) };
}

function asBucketBy(input: Input): string | undefined {
  const text = asAttributePathText(input);
  if (text !== 'kind' && text !== '/kind' && text !== '@now') return text;
  return input.fail('validation-failed', `${text} is the same for many contexts and does not spread them`);
}

function asWeights(input: Input, known: VariationKeys): Weight[] | undefined {
  const weights = input.asList(LIMITS.rolloutWeights, (element) => asWeight(element, known));
  const sum = weights?.reduce((total, { weight }) => total + weight, 0);
  if (sum === undefined || sum === ROLLOUT_WEIGHT_TOTAL) return weights;
  return input.fail('bad-weights', `the weights sum to ${sum}, not to ${ROLLOUT_WEIGHT_TOTAL}`);
}

function asWeight(input: Input, known: VariationKeys): Weight | undefined {
  const members = input.asObject(['variation', 'weight']);
  const variation = members?.read('variation', (member) => asVariationKey(member, known));
  const weight = members?.read('weight', (member) => member.asInteger(0, ROLLOUT_WEIGHT_TOTAL));
  return variation === undefined || weight === undefined ? undefined : { variation, weight };
}

/** A seed must not look like the salt of a layer, or the two would bucket alike. */
function asSeed(input: Input): string | undefined {
  const seed = input.asString();
  if (seed === undefined) return undefined;
  if (seed === '' || seed.startsWith('layer:')) {
    return input.fail('validation-failed', 'must not be empty and must not start with layer:');
  }
  // At most two units per character: what is longer needs no counting.
  if (seed.length <= LIMITS.seedChars * 2 && codePointCount(seed) <= LIMITS.seedChars) return seed;
  return input.fail('limit-exceeded', `must have at most ${LIMITS.seedChars} characters`);
}

function asLayer(input: Input): Rollout['layer'] | undefined {
  const members = input.asObject(['key', 'from', 'to']);
  const key = members?.read('key', asKey);
  const from = members?.read('from', (member) => member.asInteger(0, ROLLOUT_WEIGHT_TOTAL));
  const to = members?.read('to', (member) => member.asInteger(0, ROLLOUT_WEIGHT_TOTAL));
  if (key === undefined || from === undefined || to === undefined) return undefined;
  return from <= to ? { key, from, to } : input.fail('validation-failed', 'from must not be greater than to');
}
