import { PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema } from '../admin-api/params.js';
import { applyPatch, MERGE_PATCH, type Patch } from '../admin-api/patch.js';
import { storedJson } from './as-json.js';
import { checkTargeting } from './flag-input.js';
import type { FlagRecord, TargetingRecord } from './flag-record.js';

/** Form only; the flag model's own parser checks the rest and gives the codes and pointers. */
export const conditionSchema = z.looseObject({}).meta({
  id: 'Condition',
  description:
    'Exactly one of {all: Condition[]}, {any: Condition[]}, {not: Condition}, {segment: SegmentKey[], negate?} or {attribute, op, values, contextKind?, negate?}',
  examples: [{ all: [{ attribute: 'country', op: 'in', values: ['DE'] }, { segment: ['beta'] }] }],
});

export const serveSchema = z.looseObject({}).meta({
  id: 'Serve',
  description:
    '{variation} or {rollout: {weights: [{variation, weight}…] summing to 100000, contextKind?, bucketBy?, …}}',
  examples: [
    {
      rollout: {
        weights: [
          { variation: 'on', weight: 20_000 },
          { variation: 'off', weight: 80_000 },
        ],
      },
    },
  ],
});

export const targetingMembers = {
  on: z.boolean(),
  offVariation: keySchema.describe('Served while the flag is off or a prerequisite fails'),
  prerequisites: z.array(z.strictObject({ flag: keySchema, variations: z.array(keySchema) })),
  targets: z.array(z.strictObject({ contextKind: z.string(), variation: keySchema, keys: z.array(z.string()) })),
  rules: z
    .array(z.strictObject({ id: z.string(), name: z.string().optional(), when: conditionSchema, serve: serveSchema }))
    .describe('The first rule that matches wins'),
  fallthrough: serveSchema,
};

/** A whole targeting. The salt is not in it: it is made once and only read. */
export const targetingBody = z.strictObject(targetingMembers).meta({ id: 'Targeting' });

/** The record after a write of `next`, which is a whole targeting; issues point below `pointer`. */
export function editTargeting(
  flag: FlagRecord,
  before: TargetingRecord,
  next: unknown,
  options: { pointer: string; now: number },
): TargetingRecord {
  if (flag.archivedAt !== null) throw new PlatformError('conflict', `the flag ${flag.key} is archived`);
  const targeting = checkTargeting(next, flag, options.pointer);
  return { ...before, targeting, version: before.version + 1, updatedAt: options.now };
}

/**
 * The whole targeting after a patch. The fallthrough is a choice of `variation` or `rollout`: a merge patch that names one of them
 * takes the other away, as if it had set it to null.
 */
export function patchTargeting({ targeting }: TargetingRecord, patch: Patch): unknown {
  return applyPatch(storedJson(targeting), patch.type === MERGE_PATCH ? withChoice(patch) : patch);
}

function withChoice(patch: Patch): Patch {
  const { document } = patch;
  if (!isMembers(document) || !isMembers(document.fallthrough)) return patch;
  const { fallthrough } = document;
  const named = (['variation', 'rollout'] as const).filter((name) => (fallthrough[name] ?? null) !== null);
  if (named.length !== 1) return patch;
  const other = named[0] === 'variation' ? 'rollout' : 'variation';
  return { ...patch, document: { ...document, fallthrough: { ...fallthrough, [other]: null } } };
}

function isMembers(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
