import type { Rollout, SegmentRule } from '../flag-model/definitions.js';
import { utf8Bytes } from '../flag-model/text.js';
import { bucketOf } from './bucket.js';
import type { RolloutTrace, SegmentRolloutTrace } from './explanation.js';
import { EvaluationStop, type FlagRun, findAttribute } from './flag-run.js';

/**
 * Which variation a rollout serves, and why. Not entered (`outcome` other than `served`, no `variation`) when the bucketing
 * attribute is missing or the layer's bucket lies outside.
 */
export function decideRollout(rollout: Rollout, flagSalt: string, run: FlagRun): RolloutTrace {
  const subject = findSubject(rollout, run);
  const saltSource = rollout.seed === undefined ? 'flag' : 'seed';
  // Missing is decided before the layer, so that the error does not depend on the layer's range.
  if (subject.bucketedValue === undefined) return { ...subject, saltSource, outcome: 'missing-attribute' };
  const layer = rollout.layer && {
    ...rollout.layer,
    bucket: chargedBucket(`layer:${rollout.layer.key}`, subject.bucketedValue, run),
  };
  const shown = { ...subject, saltSource, ...(layer === undefined ? {} : { layer }) } as const;
  if (layer !== undefined && (layer.bucket < layer.from || layer.bucket >= layer.to)) {
    return { ...shown, outcome: 'outside-layer' };
  }
  const bucket = chargedBucket(rollout.seed ?? flagSalt, subject.bucketedValue, run);
  let from = 0;
  for (const [weightIndex, { variation, weight }] of rollout.weights.entries()) {
    const to = from + weight;
    if (bucket < to) return { ...shown, outcome: 'served', bucket, weightIndex, range: [from, to], variation };
    from = to;
  }
  throw new EvaluationStop('PARSE_ERROR', 'definition'); // weights that do not sum are refused when loaded
}

/** Whether the rollout of a segment's rule lets the context in. */
export function decideSegmentRollout(
  rollout: NonNullable<SegmentRule['rollout']>,
  segmentSalt: string,
  run: FlagRun,
): SegmentRolloutTrace {
  const subject = findSubject(rollout, run);
  const { weight } = rollout;
  if (subject.bucketedValue === undefined) return { ...subject, weight, isIn: false };
  const bucket = chargedBucket(segmentSalt, subject.bucketedValue, run);
  return { ...subject, bucket, weight, isIn: bucket < weight };
}

/** A long value takes longer to hash. */
function chargedBucket(salt: string, bucketedValue: string, run: FlagRun): number {
  run.fuel.spend(1 + Math.floor(utf8Bytes(bucketedValue) / 64));
  return bucketOf(salt, bucketedValue);
}

interface Subject {
  readonly contextKind: string;
  readonly bucketBy: string;
  readonly bucketedValue?: string;
}

/** A string is hashed as it is, an integer in decimals; anything else counts as missing. */
function findSubject(rollout: { readonly contextKind?: string; readonly bucketBy?: string }, run: FlagRun): Subject {
  const contextKind = rollout.contextKind ?? 'user';
  const bucketBy = rollout.bucketBy ?? 'targetingKey';
  const value = findAttribute(run.kinds, contextKind, bucketBy);
  if (typeof value === 'string') return { contextKind, bucketBy, bucketedValue: value };
  if (Number.isSafeInteger(value)) return { contextKind, bucketBy, bucketedValue: String(value) };
  return { contextKind, bucketBy };
}
