import { isDeepStrictEqual } from 'node:util';
import type { FlagDefinition, SegmentDefinition, SegmentKeysDefinition } from '@guidon/engine';
import { describeSharedChange } from '../flags/describe-flag.js';
import { countOf, describeTargetingChange } from '../flags/describe-targeting.js';

/** What changed between two served states of a flag, a sentence each. */
export function describeFlagDefinitionChange(before: FlagDefinition, after: FlagDefinition): string[] {
  const isOther = before.salt !== after.salt || before.type !== after.type;
  return [
    ...(isOther ? ['another flag with the same key: its buckets are others'] : []),
    ...describeSharedChange(before, after),
    ...describeTargetingChange(before, after),
  ];
}

export function describeSegmentDefinitionChange(before: SegmentDefinition, after: SegmentDefinition): string[] {
  return [
    ...(before.salt === after.salt ? [] : ['another segment with the same key: its buckets are others']),
    ...(isDeepStrictEqual(before.rules, after.rules)
      ? []
      : [`rules changed, ${countOf(after.rules.length, 'rule')} after ${before.rules.length}`]),
  ];
}

/** Of the chunks of one list that differ; keys that only moved to another chunk are in both. */
export function describeKeysChange(
  before: readonly SegmentKeysDefinition[],
  after: readonly SegmentKeysDefinition[],
): { readonly added: number; readonly removed: number } {
  const old = new Set(before.flatMap(({ keys }) => keys));
  const now = new Set(after.flatMap(({ keys }) => keys));
  let kept = 0;
  for (const key of now) if (old.has(key)) kept += 1;
  return { added: now.size - kept, removed: old.size - kept };
}
