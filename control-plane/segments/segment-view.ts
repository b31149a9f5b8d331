import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import { countOf } from '../flags/describe-targeting.js';
import { conditionSchema } from '../flags/targeting-input.js';
import { listSchema } from './segment-input.js';
import type { SegmentRecord } from './segment-record.js';

export const segmentSchema = z
  .object({
    id: z.string().describe('New for each segment, also when a key is used again'),
    key: z.string(),
    name: z.string(),
    description: z.string(),
    tags: z.array(z.string()),
    rules: z.array(z.object({ when: conditionSchema, rollout: z.looseObject({}).optional() })),
    keyCounts: z.array(z.object({ list: listSchema, contextKind: z.string(), count: z.int() })),
    salt: z.string(),
    archived: z.boolean(),
    archivedAt: timestampSchema.nullable(),
    createdAt: timestampSchema,
    updatedAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Segment' });

/** The answer to a write. */
export const segmentWriteSchema = segmentSchema
  .extend({ revision: z.int().describe('Of the environment') })
  .meta({ id: 'WrittenSegment' });

export function viewSegment(segment: SegmentRecord) {
  return { ...segment, archived: segment.archivedAt !== null };
}

/** What changed between two states of a segment but for its keys, a sentence each. */
export function describeSegmentChange(before: SegmentRecord, after: SegmentRecord): string[] {
  const sentences: string[] = [];
  if (before.name !== after.name) sentences.push(`renamed to ${after.name}`);
  if (before.description !== after.description) sentences.push('description changed');
  if (before.tags.join('\0') !== after.tags.join('\0')) {
    sentences.push(`tags are now ${after.tags.join(', ') || 'none'}`);
  }
  if (JSON.stringify(before.rules) !== JSON.stringify(after.rules)) {
    sentences.push(`rules changed, ${countOf(after.rules.length, 'rule')} now`);
  }
  return sentences;
}
