import { z } from 'zod';
import { keySchema } from '../admin-api/params.js';
import { targetingBody } from '../flags/targeting-input.js';
import { contextKindSchema, keysEditSchema, listSchema } from '../segments/segment-input.js';

/** Edits that one request may hold, and keys that all of them together may add and remove. */
export const CHANGES_MAX = 100;
export const KEYS_PER_CHANGES_MAX = 10_000;

const mergePatch = z.record(z.string(), z.unknown()).describe('A merge patch (RFC 7396)');

export const changeSchema = z
  .discriminatedUnion('op', [
    z.strictObject({ op: z.literal('targeting.patch'), flag: keySchema, patch: mergePatch }),
    z.strictObject({ op: z.literal('targeting.put'), flag: keySchema, targeting: targetingBody }),
    z.strictObject({ op: z.literal('segment.patch'), segment: keySchema, patch: mergePatch }),
    z.strictObject({
      op: z.literal('segment.keys'),
      segment: keySchema,
      list: listSchema.default('included'),
      contextKind: contextKindSchema.default('user'),
      add: keysEditSchema.shape.add,
      remove: keysEditSchema.shape.remove,
    }),
  ])
  .meta({ id: 'Change' });
export type ChangeOperation = z.infer<typeof changeSchema>;

export const changesBody = z.strictObject({
  changes: z.array(changeSchema).min(1).max(CHANGES_MAX).describe('Applied in order; all of them or none'),
});

export const changesReplySchema = z
  .object({
    revision: z.int().describe('Of the environment'),
    summary: z.string(),
    targetings: z.record(z.string(), z.object({ version: z.int() })).describe('By flag key: the new versions'),
    segments: z.record(z.string(), z.object({ version: z.int() })).describe('By segment key'),
  })
  .meta({ id: 'AppliedChanges' });
