import { parseSegmentRules, parseTargetingKeys, type SegmentRule } from '@guidon/engine';
import { type Issue, LIMITS } from '@guidon/protocol';
import { z } from 'zod';
import { descriptionSchema, keySchema, nameSchema } from '../admin-api/params.js';
import { below, refusal, tagsSchema } from '../flags/flag-input.js';
import { conditionSchema } from '../flags/targeting-input.js';
import { SEGMENT_LISTS } from './segment-record.js';

/** Keys that one request may hold; more go through an upload. */
export const KEYS_PER_REQUEST_MAX = 10_000;

export const listSchema = z.enum(SEGMENT_LISTS);
export const contextKindSchema = z.string().min(1).max(128);
const keysSchema = z.array(z.string());

const segmentRuleSchema = z.strictObject({
  when: conditionSchema,
  rollout: z
    .strictObject({ contextKind: z.string().optional(), bucketBy: z.string().optional(), weight: z.int() })
    .optional()
    .describe('In the segment only when the bucket is below weight, of 100000'),
});

/** The members of a segment that an edit may change: what PATCH applies to. */
export const segmentEditSchema = z.strictObject({
  name: nameSchema,
  description: descriptionSchema,
  tags: tagsSchema,
  rules: z.array(segmentRuleSchema),
});

const keyListSchema = z.strictObject({ contextKind: contextKindSchema.default('user'), keys: keysSchema });

export const segmentCreateSchema = segmentEditSchema.partial().extend({
  key: keySchema,
  included: z.array(keyListSchema).optional().describe(`At most ${KEYS_PER_REQUEST_MAX} keys in all lists together`),
  excluded: z.array(keyListSchema).optional(),
});
export type SegmentCreate = z.infer<typeof segmentCreateSchema>;

export const keysEditSchema = z.strictObject({
  list: listSchema.default('included'),
  contextKind: contextKindSchema.default('user'),
  add: keysSchema.optional().describe(`At most ${KEYS_PER_REQUEST_MAX} keys to add and remove together`),
  remove: keysSchema.optional(),
});
export type KeysEdit = z.infer<typeof keysEditSchema>;

export function checkSegmentRules(rules: unknown, pointer: string): readonly SegmentRule[] {
  const parsed = parseSegmentRules(rules);
  if (!parsed.ok) throw refusal(below(pointer, parsed.issues));
  return parsed.value;
}

/** Both lists of one call. A key that is to be added and removed says nothing clear. */
export function checkKeysEdit(edit: KeysEdit, pointer: string): { add: string[]; remove: string[] } {
  const { add = [], remove = [] } = edit;
  if (add.length + remove.length > KEYS_PER_REQUEST_MAX) {
    const detail = `a call adds and removes at most ${KEYS_PER_REQUEST_MAX} keys; larger lists go through an upload`;
    throw refusal([{ pointer, code: 'limit-exceeded', detail }]);
  }
  const issues = [...keyIssues(add, `${pointer}/add`), ...keyIssues(remove, `${pointer}/remove`)];
  const removed = new Set(remove);
  for (const [index, key] of add.entries()) {
    if (!removed.has(key)) continue;
    issues.push({ pointer: `${pointer}/add/${index}`, code: 'validation-failed', detail: 'this key is in remove too' });
  }
  if (issues.length > 0) throw refusal(issues);
  return { add, remove };
}

/** Keys of one list; issues point at its elements. */
export function checkKeys(keys: readonly unknown[], pointer: string): string[] {
  const parsed = parseTargetingKeys(keys);
  if (!parsed.ok) throw refusal(below(pointer, parsed.issues));
  return parsed.value;
}

/** The lists of a new segment; lists for one context kind are united. */
export function checkKeyLists(
  body: SegmentCreate,
): { list: (typeof SEGMENT_LISTS)[number]; contextKind: string; keys: string[] }[] {
  const merged = new Map<string, { list: (typeof SEGMENT_LISTS)[number]; contextKind: string; keys: string[] }>();
  const issues: Issue[] = [];
  let count = 0;
  for (const list of SEGMENT_LISTS) {
    for (const [index, { contextKind, keys }] of (body[list] ?? []).entries()) {
      issues.push(...keyIssues(keys, `/${list}/${index}/keys`));
      const entry = merged.get(`${list}/${contextKind}`) ?? { list, contextKind, keys: [] };
      merged.set(`${list}/${contextKind}`, { ...entry, keys: [...entry.keys, ...keys] });
      count += keys.length;
      if (count > KEYS_PER_REQUEST_MAX) {
        const detail = `a new segment has at most ${KEYS_PER_REQUEST_MAX} keys; add more with an upload`;
        throw refusal([{ pointer: `/${list}`, code: 'limit-exceeded', detail }]);
      }
    }
  }
  if (issues.length > 0) throw refusal(issues);
  return [...merged.values()].filter(({ keys }) => keys.length > 0);
}

function keyIssues(keys: readonly unknown[], pointer: string): Issue[] {
  const parsed = parseTargetingKeys(keys);
  return parsed.ok ? [] : below(pointer, parsed.issues);
}

export const SEGMENT_KEYS_MAX = LIMITS.segmentKeys;
