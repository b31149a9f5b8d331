import { PlatformError, ROLLOUT_WEIGHT_TOTAL } from '@guidon/protocol';
import { isTargetingKeyPath, parseAttributePath } from '../evaluate/attribute-path.js';
import type { Rollout, SegmentRule } from '../flag-model/definitions.js';
import { HASH_PREFIX, ROLLOUT, ROLLOUT_BIT, WEIGHT } from './layout.js';
import { hashPrefixOf } from './murmur3.js';
import type { UnitBuilder } from './unit-builder.js';

/** Bucketing one value; see condition-cost.ts for the unit. */
const HASH_COST = 2;

/** Appends a ROLLOUT and returns its offset. `salt` is the flag's; `variationIndex` finds a variation by key. */
export function compileRollout(
  builder: UnitBuilder,
  rollout: Rollout,
  salt: string,
  variationIndex: (key: string) => number,
): number {
  const { writer } = builder;
  const record = reserveRollout(builder, rollout, rollout.seed ?? salt, rollout.weights.length);
  let bits = bucketsByTargetingKey(rollout) ? ROLLOUT_BIT.targetingKey : 0;
  if (rollout.layer !== undefined) {
    builder.cost.fixed += HASH_COST;
    bits |= ROLLOUT_BIT.layer;
    writeHashPrefix(builder, record + ROLLOUT.layerSalt, `layer:${rollout.layer.key}.`);
    writer.u32(record + ROLLOUT.layerFrom, rollout.layer.from);
    writer.u32(record + ROLLOUT.layerTo, rollout.layer.to);
  }
  if (rollout.experiment !== undefined) bits |= ROLLOUT_BIT.experiment;
  writer.u32(record + ROLLOUT.bits, bits);
  let upTo = 0;
  for (const [index, { variation, weight }] of rollout.weights.entries()) {
    upTo += weight;
    const entry = record + ROLLOUT.weights + index * WEIGHT.bytes;
    writer.u32(entry + WEIGHT.upTo, upTo);
    writer.u32(entry + WEIGHT.variation, variationIndex(variation));
  }
  if (upTo !== ROLLOUT_WEIGHT_TOTAL) throw new PlatformError('bad-weights', `weights sum to ${upTo}`);
  return record;
}

/** Appends the ROLLOUT of a segment rule and returns its offset. */
export function compileSegmentRollout(
  builder: UnitBuilder,
  rollout: NonNullable<SegmentRule['rollout']>,
  salt: string,
): number {
  const record = reserveRollout(builder, rollout, salt, 1);
  builder.writer.u32(record + ROLLOUT.weights + WEIGHT.upTo, rollout.weight);
  return record;
}

function reserveRollout(
  builder: UnitBuilder,
  rollout: { readonly contextKind?: string; readonly bucketBy?: string },
  salt: string,
  weightCount: number,
): number {
  const { writer } = builder;
  builder.cost.fixed += HASH_COST;
  const record = writer.reserve(ROLLOUT.bytes + weightCount * WEIGHT.bytes);
  writer.u32(record + ROLLOUT.slot, builder.slotRef(rollout.contextKind, bucketPath(rollout)));
  writeHashPrefix(builder, record + ROLLOUT.salt, `${salt}.`);
  writer.u32(record + ROLLOUT.weightCount, weightCount);
  return record;
}

function bucketPath(rollout: { readonly bucketBy?: string }): readonly string[] {
  const path = parseAttributePath(rollout.bucketBy ?? 'targetingKey');
  if (path === undefined) throw new PlatformError('validation-failed', 'bucketBy is no valid path');
  return path;
}

function bucketsByTargetingKey(rollout: Rollout): boolean {
  return isTargetingKeyPath(bucketPath(rollout));
}

function writeHashPrefix(builder: UnitBuilder, offset: number, text: string): void {
  const prefix = hashPrefixOf(text);
  builder.writer.u32(offset + HASH_PREFIX.state, prefix.state);
  builder.writer.u32(offset + HASH_PREFIX.tail, prefix.tail);
  builder.writer.u32(offset + HASH_PREFIX.tailBytes, prefix.tailBytes);
  builder.writer.u32(offset + HASH_PREFIX.length, prefix.length);
}
