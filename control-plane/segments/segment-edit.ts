import { createHash } from 'node:crypto';
import type { FlagSet, SegmentKeyList } from '@guidon/engine';
import { type Json, PlatformError } from '@guidon/protocol';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { DefinitionChange } from '../commit/change.js';
import { asJson } from '../flags/as-json.js';
import { countOf } from '../flags/describe-targeting.js';
import { type Chunks, chunksOf, type EditedKeys, editSegmentKeys, replaceSegmentKeys } from './edit-segment-keys.js';
import { checkSegmentRules, segmentEditSchema } from './segment-input.js';
import { KEY_LISTS_PER_SEGMENT_MAX, type SegmentRecord, withKeyCount } from './segment-record.js';

/** The record after a patch; issues point below `pointer`. */
export function patchSegment(
  before: SegmentRecord,
  patch: Patch,
  { pointer, now }: { pointer: string; now: number },
): SegmentRecord {
  const { name, description, tags, rules } = before;
  const edit = parseWith(segmentEditSchema, applyPatch(asJson({ name, description, tags, rules }), patch));
  return {
    ...before,
    ...edit,
    rules: checkSegmentRules(edit.rules, `${pointer}/rules`),
    version: before.version + 1,
    updatedAt: now,
  };
}

export function assertNotArchived({ key, archivedAt }: SegmentRecord): void {
  if (archivedAt !== null) throw new PlatformError('conflict', `the segment ${key} is archived`);
}

/** How a list of keys is changed: `edit` adds and removes, `replace` makes it exactly `add`. */
export interface ListEdit extends Omit<SegmentKeyList, 'segment'> {
  readonly mode: 'edit' | 'replace';
  readonly add: readonly string[];
  readonly remove: readonly string[];
}

export interface EditedSegment {
  readonly record: SegmentRecord;
  readonly definitions: readonly DefinitionChange[];
  readonly edited: EditedKeys;
}

/** `chunks` are all chunks of the environment or only those of the list. */
export function editList(
  before: SegmentRecord,
  chunks: FlagSet['segmentKeys'],
  edit: ListEdit,
  { pointer, now }: { pointer: string; now: number },
): EditedSegment {
  assertNotArchived(before);
  const list = { segment: before.key, list: edit.list, contextKind: edit.contextKind };
  const own: Chunks = chunksOf(list, chunks.values());
  const edited =
    edit.mode === 'replace'
      ? replaceSegmentKeys(list, own, edit.add, pointer)
      : editSegmentKeys(list, own, edit, pointer);
  const { list: listName, contextKind } = edit;
  const keyCounts = withKeyCount(before.keyCounts, { list: listName, contextKind, count: edited.count });
  if (keyCounts.length > KEY_LISTS_PER_SEGMENT_MAX) {
    const detail = `the lists of a segment are for at most ${KEY_LISTS_PER_SEGMENT_MAX} context kinds`;
    throw new PlatformError('limit-exceeded', detail, {
      issues: [{ pointer: `${pointer}/contextKind`, code: 'limit-exceeded', detail }],
    });
  }
  return {
    record: { ...before, keyCounts, version: before.version + 1, updatedAt: now },
    definitions: edited.definitions,
    edited,
  };
}

export function describeListEdit({ list, contextKind }: ListEdit, { addedCount, removedCount }: EditedKeys): string {
  const what = `${list} for kind ${contextKind}`;
  if (addedCount === 0 && removedCount === 0) return `nothing changed in the keys ${what}`;
  const parts = [
    ...(addedCount > 0 ? [`${countOf(addedCount, 'key')} added to`] : []),
    ...(removedCount > 0 ? [`${countOf(removedCount, 'key')} removed from`] : []),
  ];
  return `${parts.join(' and ')} those ${what}`;
}

const SAMPLE_COUNT_MAX = 5;

/** What the audit entry keeps of an edit that may hold a million keys. */
export function listEditDetails(edit: ListEdit, { addedCount, removedCount, count }: EditedKeys): Json {
  const { list, contextKind, mode, add, remove } = edit;
  return {
    list,
    contextKind,
    mode,
    addedCount,
    removedCount,
    count,
    /** SHA-256 over the keys asked for, one a line, in the order given. */
    addDigest: digestOfKeys(add),
    removeDigest: digestOfKeys(remove),
    addSample: add.slice(0, SAMPLE_COUNT_MAX),
    removeSample: remove.slice(0, SAMPLE_COUNT_MAX),
  };
}

export function digestOfKeys(keys: readonly string[]): string {
  const hash = createHash('sha256');
  for (const key of keys) hash.update(`${key}\n`);
  return hash.digest('hex');
}
