import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import { dryRunReportSchema } from '../admin-api/register-route.js';
import type { RevisionRow } from '../commit/definition-store.js';

const definitionNameSchema = z.object({ kind: z.enum(['flag', 'segment', 'segment-keys']), key: z.string() });

export const revisionSchema = z
  .object({
    epoch: z.int(),
    revision: z.int(),
    at: timestampSchema,
    actorName: z.string(),
    action: z.string(),
    summary: z.string(),
    changed: z.array(z.object({ kind: z.string(), key: z.string() })),
    removed: z.array(z.object({ kind: z.string(), key: z.string() })),
    auditSequence: z.int(),
  })
  .meta({ id: 'Revision' });

export const shownRevisionSchema = revisionSchema
  .extend({
    manifest: z.string().describe('As it was signed'),
    signature: z.string().describe('Base64'),
    actor: z
      .object({ kind: z.string(), credentialId: z.string(), name: z.string() })
      .nullable()
      .describe('Who made it'),
    comment: z.string().describe('Why, in the actor’s words'),
    requestId: z.string().nullable(),
    isKept: z.boolean().describe('Whether what it served can still be read'),
    sentences: z
      .array(z.string())
      .nullable()
      .describe('What changed since the revision before; null = no longer known'),
  })
  .meta({ id: 'ShownRevision' });

/** A definition is JSON of the flag model; its members are left as they were signed. */
export const pastFlagSchema = z
  .object({ revision: z.int(), definition: z.looseObject({}).describe('As it was signed and served') })
  .meta({ id: 'PastFlag' });

export const pastFlagSummarySchema = z
  .object({
    key: z.string(),
    type: z.string(),
    clientSide: z.boolean(),
    on: z.boolean(),
    offVariation: z.string(),
    fallthrough: z.looseObject({}),
    ruleCount: z.int(),
  })
  .meta({ id: 'PastFlagSummary' });

export const comparisonSchema = z
  .object({
    from: z.int(),
    to: z.int(),
    sentences: z.array(z.string()).describe('What going from `from` to `to` changes'),
    added: z.array(definitionNameSchema),
    removed: z.array(definitionNameSchema),
    changed: z.array(
      definitionNameSchema.extend({
        sentences: z.array(z.string()),
        diff: dryRunReportSchema.shape.diff,
        diffOmitted: z.int().optional().describe('Members left out of a diff that is too large'),
      }),
    ),
    changedOmitted: z.array(definitionNameSchema).describe('Changed as well, beyond the first 200'),
  })
  .meta({ id: 'RevisionComparison' });

export function viewRevision({ removed, ...row }: RevisionRow) {
  return { ...row, removed: removed.map(([kind, key]) => ({ kind, key })) };
}
