import { type Json, PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import { applyJsonPatch, PATCH_OPERATIONS_MAX } from './json-patch.js';
import { parseWith } from './problems.js';

export const MERGE_PATCH = 'application/merge-patch+json';
export const JSON_PATCH = 'application/json-patch+json';

/** The two forms a PATCH body may have; which one it is says the Content-Type, never the shape. */
export interface Patch {
  readonly type: typeof MERGE_PATCH | typeof JSON_PATCH;
  readonly document: unknown;
}

/** Media type of a Content-Type, without parameters. */
export function mediaTypeOf(contentType: string | undefined): string {
  return contentType?.split(';')[0]?.trim().toLowerCase() ?? '';
}

const operationsSchema = z
  .array(
    z.strictObject({
      op: z.enum(['add', 'remove', 'replace', 'move', 'copy', 'test']),
      path: z.string().max(2_048),
      from: z.string().max(2_048).optional(),
      value: z.unknown().optional(),
    }),
  )
  .max(PATCH_OPERATIONS_MAX);

/** `current` is what the caller may edit, as it reads it; the answer still has to be parsed with the noun's own schema. */
export function applyPatch(current: Json, patch: Patch): Json {
  if (patch.type === JSON_PATCH) return applyJsonPatch(current, parseWith(operationsSchema, patch.document));
  const { document } = patch;
  if (typeof document !== 'object' || document === null || Array.isArray(document)) {
    throw new PlatformError('validation-failed', 'a merge patch must be an object', {
      issues: [{ pointer: '', code: 'validation-failed', detail: 'must be an object' }],
    });
  }
  return mergePatch(current, document as Json);
}

/** RFC 7396: null removes, objects merge, everything else replaces. */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return patch;
  const base = typeof target === 'object' && target !== null && !Array.isArray(target) ? target : {};
  const members = new Map<string, Json>(Object.entries(base));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, mergePatch(members.get(name), value));
  }
  // fromEntries defines members, so one called `__proto__` stays one.
  return Object.fromEntries(members);
}
