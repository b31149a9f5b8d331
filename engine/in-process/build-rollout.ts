import { EvaluationStop } from '../evaluate/flag-run.js';
import type { Rollout, SegmentRule } from '../flag-model/definitions.js';
import type { AttributeSlot } from './attribute-slot.js';
import type { Builder } from './builder.js';
import type { Run } from './run.js';
import { SaltedBucket } from './salted-bucket.js';
import type { Subject } from './subject.js';

/** The bucketing attribute is missing: the rollout is not entered. */
export const MISSING_ATTRIBUTE = -1;
/** The layer's bucket lies outside: the rollout is not entered. */
export const OUTSIDE_LAYER = -2;

/** Which entry of `weights` a rollout serves, or one of the negative answers above. */
export type Decision = (run: Run) => number;

export function buildRollout(rollout: Rollout, flagSalt: string, builder: Builder): Decision {
  const slot = slotOf(rollout, builder);
  const buckets = new SaltedBucket(rollout.seed ?? flagSalt);
  const isInLayer = buildLayer(rollout.layer);
  let sum = 0;
  const ends = rollout.weights.map(({ weight }) => {
    sum += weight;
    return sum;
  });
  return (run) => {
    const subject = slot.read(run);
    const text = subject.bucketedText;
    if (text === undefined) return MISSING_ATTRIBUTE;
    if (isInLayer !== undefined && !isInLayer(subject, text, run)) return OUTSIDE_LAYER;
    const bucket = buckets.charged(subject, text, run);
    let index = 0;
    for (const end of ends) {
      if (bucket < end) return index;
      index += 1;
    }
    throw new EvaluationStop('PARSE_ERROR', 'definition'); // weights that do not sum are refused when loaded
  };
}

export function buildSegmentRollout(
  rollout: NonNullable<SegmentRule['rollout']>,
  segmentSalt: string,
  builder: Builder,
): (run: Run) => boolean {
  const slot = slotOf(rollout, builder);
  const buckets = new SaltedBucket(segmentSalt);
  const { weight } = rollout;
  return (run) => {
    const subject = slot.read(run);
    const text = subject.bucketedText;
    return text !== undefined && buckets.charged(subject, text, run) < weight;
  };
}

function buildLayer(layer: Rollout['layer']): ((subject: Subject, text: string, run: Run) => boolean) | undefined {
  if (layer === undefined) return undefined;
  const { from, to } = layer;
  const buckets = new SaltedBucket(`layer:${layer.key}`);
  return (subject, text, run) => {
    const bucket = buckets.charged(subject, text, run);
    return bucket >= from && bucket < to;
  };
}

function slotOf(
  rollout: { readonly contextKind?: string; readonly bucketBy?: string },
  builder: Builder,
): AttributeSlot {
  return builder.slotOf(rollout.contextKind ?? 'user', rollout.bucketBy ?? 'targetingKey');
}
