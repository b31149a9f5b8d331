import { PlatformError } from '@guidon/protocol';
import { z } from 'zod';
import type { Change, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  type FoundEnvironment,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { asJson } from '../flags/as-json.js';
import { assertFits } from '../flags/check-references.js';
import { summarise } from '../flags/describe-flag.js';
import { keys } from '../store/keys.js';
import { describeListEdit, editList, type ListEdit, listEditDetails } from './segment-edit.js';
import { checkKeysEdit, contextKindSchema, type KeysEdit, listSchema } from './segment-input.js';
import type { SegmentRecord } from './segment-record.js';
import { reliedOf } from './segment-service.js';
import { getSegment, type KeyPlace, listSegmentKeys } from './segment-store.js';
import { segmentSchema, viewSegment } from './segment-view.js';

export const KEYS_PAGE_MAX = 10_000;

export const keysQuerySchema = z.strictObject({
  list: listSchema.default('included'),
  contextKind: contextKindSchema.default('user'),
  limit: z.coerce.number().int().min(1).max(KEYS_PAGE_MAX).default(1_000),
  cursor: z.string().max(2_048).optional().describe('nextCursor of the page before'),
});

export const keysWriteSchema = segmentSchema
  .pick({ key: true, keyCounts: true, version: true })
  .extend({
    addedCount: z.int().describe('Keys that were not there before'),
    removedCount: z.int(),
    count: z.int().describe('Keys in that list now'),
    revision: z.int().describe('Of the environment'),
  })
  .meta({ id: 'WrittenKeys' });

/** Rules of a segment's keys. */
export class SegmentKeysService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** In the order of their hashes: stable whatever else is added or removed meanwhile. */
  list(path: EnvironmentPath, segmentKey: string, query: z.infer<typeof keysQuerySchema>): Reply {
    const { store } = this.#core;
    const environment = refOf(getEnvironment(store, path).environment);
    const segment = getSegment(store, environment, segmentKey);
    const after = query.cursor === undefined ? undefined : parseKeysCursor(query.cursor);
    const places = listSegmentKeys(store, environment, segment, query, { after, limit: query.limit + 1 });
    const items = places.slice(0, query.limit);
    const last = places.length > query.limit ? items[items.length - 1] : undefined;
    return {
      status: 200,
      body: { items: items.map(({ key }) => key), nextCursor: last === undefined ? null : encodeKeysCursor(last) },
    };
  }

  edit(write: WriteRequest, path: EnvironmentPath, segmentKey: string, body: KeysEdit): Promise<Reply> {
    const edit: ListEdit = { list: body.list, contextKind: body.contextKind, mode: 'edit', ...checkKeysEdit(body, '') };
    return this.commit(write, path, segmentKey, () => ({ edit, change: {} }));
  }

  /**
   * One edit of one list as one revision. `prepare` runs inside the plan, so it may read. If-Match is honoured when it is sent and not
   * asked for: adding and removing keys overwrites nothing that the caller has not seen.
   */
  commit(
    write: WriteRequest,
    path: EnvironmentPath,
    segmentKey: string,
    prepare: (
      found: FoundEnvironment,
      segment: SegmentRecord,
    ) => { edit: ListEdit; change: Pick<Partial<Change>, 'rows' | 'records'> },
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const { projectId, environmentId } = getEnvironment(store, path).environment;
    return committer.commit(write, { projectId, environmentId }, () => {
      const found = getOpenEnvironment(store, path);
      const environment = refOf(found.environment);
      const before = getSegment(store, environment, segmentKey);
      if (write.ifMatch !== undefined) assertIfMatch(write, before);
      const { edit, change } = prepare(found, before);
      const { segmentKeys } = committer.flagSetOf(environment);
      const { record, definitions, edited } = editList(before, segmentKeys, edit, { pointer: '', now: now() });
      assertFits(committer.flagSetOf(environment), definitions, () => '');
      const { addedCount, removedCount, count } = edited;
      return {
        owner: path.tenantId,
        action: 'segment.update-keys',
        subject: `projects/${found.project.key}/environments/${found.environment.key}/segments/${segmentKey}`,
        summary: summarise(`segment ${segmentKey} in ${path.environmentKey}`, [describeListEdit(edit, edited)]),
        before: asJson(viewSegment(before)),
        after: asJson(viewSegment(record)),
        details: listEditDetails(edit, edited),
        records: [
          { key: keys.segment(environment, segmentKey), read: before, value: record },
          ...(change.records ?? []),
        ],
        rows: change.rows ?? [],
        relied: reliedOf(found),
        environments: [{ environment, definitions }],
        reply: ({ environments: [outcome] }) => ({
          status: 200,
          body: {
            key: segmentKey,
            keyCounts: record.keyCounts,
            version: record.version,
            addedCount,
            removedCount,
            count,
            revision: outcome?.revision,
          },
          etag: record.version,
        }),
      };
    });
  }
}

function encodeKeysCursor({ hash, key }: KeyPlace): string {
  return Buffer.from(JSON.stringify([hash, key])).toString('base64url');
}

function parseKeysCursor(cursor: string): KeyPlace {
  try {
    const value: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
    const [hash, key]: unknown[] = Array.isArray(value) ? value : [];
    if (Number.isSafeInteger(hash) && typeof key === 'string') return { hash: Number(hash), key };
  } catch {
    // Falls through to the one answer for every cursor that is not ours.
  }
  throw new PlatformError('validation-failed', 'the cursor is not one that this list gave');
}
