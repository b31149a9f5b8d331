import { PlatformError, type TenantId } from '@guidon/protocol';
import { ulid } from 'ulid';
import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import { notFound } from '../admin-api/problems.js';
import type { Change, Reply, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  type FoundEnvironment,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { refusal } from '../flags/flag-input.js';
import { keys, type StoreKey } from '../store/keys.js';
import { assertNotArchived, digestOfKeys, type ListEdit } from './segment-edit.js';
import { checkKeys, contextKindSchema, listSchema, SEGMENT_KEYS_MAX } from './segment-input.js';
import type { SegmentKeysService } from './segment-keys-service.js';
import { getSegment } from './segment-store.js';
import {
  PARTS_PER_UPLOAD_MAX,
  UPLOAD_TTL_MS,
  UPLOADS_PER_TENANT_MAX,
  type UploadPartRow,
  type UploadRecord,
} from './upload-record.js';

export const uploadCreateSchema = z.strictObject({
  list: listSchema.default('included'),
  contextKind: contextKindSchema.default('user'),
  mode: z.enum(['add', 'replace']).describe('Add to the list, or make it exactly what is uploaded'),
});

export const uploadSchema = z
  .object({
    id: z.string(),
    segment: z.string(),
    list: listSchema,
    contextKind: z.string(),
    mode: z.enum(['add', 'replace']),
    parts: z.array(z.object({ part: z.int(), count: z.int(), digest: z.string() })),
    createdAt: timestampSchema,
    expiresAt: timestampSchema,
  })
  .meta({ id: 'Upload' });

/** Rules of uploads: any number of parts, in any order, each as often as the caller likes, and in the end one revision. */
export class UploadService {
  readonly #core: ControlPlaneCore;
  readonly #segmentKeys: SegmentKeysService;

  constructor(core: ControlPlaneCore, segmentKeys: SegmentKeysService) {
    this.#core = core;
    this.#segmentKeys = segmentKeys;
  }

  create(
    write: WriteRequest,
    path: EnvironmentPath,
    segmentKey: string,
    body: z.infer<typeof uploadCreateSchema>,
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const found = getOpenEnvironment(store, path);
      const { environmentId } = found.environment;
      const segment = getSegment(store, refOf(found.environment), segmentKey);
      assertNotArchived(segment);
      const open = store.list<UploadRecord>(keys.uploads(path.tenantId)).map(({ value }) => value);
      const expired = open.filter(({ expiresAt }) => expiresAt <= now());
      if (open.length - expired.length >= UPLOADS_PER_TENANT_MAX) {
        const detail = `a tenant has at most ${UPLOADS_PER_TENANT_MAX} open uploads; complete or delete one`;
        throw new PlatformError('limit-exceeded', detail);
      }
      const upload: UploadRecord = {
        version: 1,
        id: `upl_${ulid()}`,
        environmentId,
        segmentKey,
        segmentId: segment.id,
        ...body,
        parts: [],
        createdAt: now(),
        expiresAt: now() + UPLOAD_TTL_MS,
      };
      const { tenantId, projectKey, environmentKey } = path;
      const location = `/api/v1/tenants/${tenantId}/projects/${projectKey}/environments/${environmentKey}/segments/${segmentKey}/uploads/${upload.id}`;
      return {
        ...changeOf(found, upload, `started an upload of keys for segment ${segmentKey} in ${environmentKey}`),
        records: [
          { key: keys.upload(tenantId, upload.id), read: undefined, value: upload },
          ...expired.map((gone) => ({ key: keys.upload(tenantId, gone.id), read: gone, value: undefined })),
        ],
        rows: expired.flatMap((gone) => partTombs(tenantId, gone)),
        reply: () => ({ status: 201, body: viewUpload(upload), location }),
      };
    });
  }

  read(path: EnvironmentPath, segmentKey: string, uploadId: string): Reply {
    const { environment } = getEnvironment(this.#core.store, path);
    return {
      status: 200,
      body: viewUpload(this.#getUpload(path.tenantId, environment.environmentId, segmentKey, uploadId)),
    };
  }

  putPart(
    write: WriteRequest,
    path: EnvironmentPath,
    segmentKey: string,
    uploadId: string,
    part: number,
    lines: readonly unknown[],
  ): Promise<Reply> {
    const { store, committer } = this.#core;
    const partKeys = checkKeys(lines, '');
    const { projectId, environmentId } = getEnvironment(store, path).environment;
    // The environment's lock, so that parts sent at the same time wait for each other instead of planning again.
    return committer.commit(write, { projectId, environmentId }, () => {
      const found = getOpenEnvironment(store, path);
      const before = this.#getUpload(path.tenantId, environmentId, segmentKey, uploadId);
      const received = { part, count: partKeys.length, digest: digestOfKeys(partKeys) };
      const parts = [...before.parts.filter((other) => other.part !== part), received];
      assertUploadFits(parts);
      const after: UploadRecord = {
        ...before,
        parts: parts.sort((a, b) => a.part - b.part),
        version: before.version + 1,
      };
      const row: UploadPartRow = { keys: partKeys };
      return {
        ...changeOf(found, after, `part ${part} of an upload for segment ${segmentKey}: ${partKeys.length} keys`),
        details: received,
        records: [{ key: keys.upload(path.tenantId, uploadId), read: before, value: after }],
        rows: [{ key: keys.uploadPart(path.tenantId, uploadId, part), value: row }],
        reply: () => ({ status: 200, body: viewUpload(after) }),
      };
    });
  }

  /** All parts take effect as ONE revision, and the upload is gone. */
  /** `partCount`: how many parts the caller has sent, when it says so. */
  complete(
    write: WriteRequest,
    path: EnvironmentPath,
    segmentKey: string,
    uploadId: string,
    partCount: number | undefined,
  ): Promise<Reply> {
    const { store } = this.#core;
    return this.#segmentKeys.commit(write, path, segmentKey, ({ environment }, segment) => {
      const upload = this.#getUpload(path.tenantId, environment.environmentId, segmentKey, uploadId);
      if (upload.segmentId !== segment.id) throw notFound();
      assertWhole(upload, partCount);
      const add = store
        .list<UploadPartRow>(keys.uploadParts(path.tenantId, uploadId))
        .flatMap(({ value }) => value.keys);
      const { list, contextKind, mode } = upload;
      const edit: ListEdit = { list, contextKind, mode: mode === 'replace' ? 'replace' : 'edit', add, remove: [] };
      return {
        edit,
        change: {
          records: [{ key: keys.upload(path.tenantId, uploadId), read: upload, value: undefined }],
          rows: partTombs(path.tenantId, upload),
        },
      };
    });
  }

  abort(write: WriteRequest, path: EnvironmentPath, segmentKey: string, uploadId: string): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const found = getEnvironment(store, path);
      const upload = this.#getUpload(path.tenantId, found.environment.environmentId, segmentKey, uploadId);
      return {
        ...changeOf(found, upload, `dropped an upload of keys for segment ${segmentKey}`),
        records: [{ key: keys.upload(path.tenantId, uploadId), read: upload, value: undefined }],
        rows: partTombs(path.tenantId, upload),
        reply: () => ({ status: 204, body: undefined }),
      };
    });
  }

  /** 404 for what is not there, expired, or of another environment or segment. */
  #getUpload(tenantId: TenantId, environmentId: string, segmentKey: string, uploadId: string): UploadRecord {
    const upload = this.#core.store.find<UploadRecord>(keys.upload(tenantId, uploadId));
    if (upload === undefined || upload.environmentId !== environmentId || upload.segmentKey !== segmentKey) {
      throw notFound();
    }
    if (upload.expiresAt <= this.#core.now()) throw notFound();
    return upload;
  }
}

function assertUploadFits(parts: UploadRecord['parts']): void {
  const count = parts.reduce((sum, part) => sum + part.count, 0);
  const isTooMany = parts.length > PARTS_PER_UPLOAD_MAX || count > SEGMENT_KEYS_MAX;
  if (!isTooMany) return;
  const detail = `an upload has at most ${PARTS_PER_UPLOAD_MAX} parts and ${SEGMENT_KEYS_MAX} keys`;
  throw refusal([{ pointer: '', code: 'limit-exceeded', detail }]);
}

function partTombs(tenantId: TenantId, { id, parts }: UploadRecord): { key: StoreKey; value: undefined }[] {
  return parts.map(({ part }) => ({ key: keys.uploadPart(tenantId, id, part), value: undefined }));
}

/** Uploads change nothing that is served, so they touch no environment. */
function changeOf(
  { project, environment }: FoundEnvironment,
  upload: UploadRecord,
  summary: string,
): Pick<Change, 'owner' | 'action' | 'subject' | 'summary' | 'before' | 'after'> {
  return {
    owner: project.tenantId,
    action: 'segment.update-keys',
    subject: `projects/${project.key}/environments/${environment.key}/segments/${upload.segmentKey}/uploads/${upload.id}`,
    summary,
    before: undefined,
    after: undefined,
  };
}

function viewUpload({ id, segmentKey, list, contextKind, mode, parts, createdAt, expiresAt }: UploadRecord) {
  return { id, segment: segmentKey, list, contextKind, mode, parts, createdAt, expiresAt };
}

/** Parts 1 to the highest have arrived, and as many as the caller says: what is missing would take its keys from the segment unseen (I13). */
function assertWhole({ parts }: UploadRecord, partCount: number | undefined): void {
  const arrived = new Set(parts.map(({ part }) => part));
  const expectedCount = partCount ?? Math.max(0, ...arrived);
  if (expectedCount === 0) throw new PlatformError('conflict', 'no part has arrived; put one or delete the upload');
  const missing = Array.from({ length: expectedCount }, (_, index) => index + 1).filter((part) => !arrived.has(part));
  if (missing.length > 0) {
    const shown = missing.slice(0, 10).join(', ');
    throw new PlatformError('conflict', `${missing.length} of ${expectedCount} parts have not arrived: ${shown}`);
  }
  if (arrived.size > expectedCount) {
    throw new PlatformError('conflict', `${arrived.size} parts have arrived, ${expectedCount} were expected`);
  }
}
