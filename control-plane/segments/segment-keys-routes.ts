import { createHash } from 'node:crypto';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { pageSchema } from '../admin-api/pagination.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { parseKeyLines } from './parse-key-lines.js';
import { keysEditSchema } from './segment-input.js';
import { keysQuerySchema, keysWriteSchema, SegmentKeysService } from './segment-keys-service.js';
import { SEGMENT, segmentParams } from './segment-routes.js';
import { PARTS_PER_UPLOAD_MAX } from './upload-record.js';
import { UploadService, uploadCreateSchema, uploadSchema } from './upload-service.js';

const KEYS = `${SEGMENT}/keys`;
const UPLOADS = `${SEGMENT}/uploads`;
const UPLOAD = `${UPLOADS}/:uploadId`;
const NDJSON = 'application/x-ndjson';
const uploadParams = segmentParams.extend({ uploadId: z.string() });
const partParams = uploadParams.extend({ part: z.coerce.number().int().min(1).max(PARTS_PER_UPLOAD_MAX) });

export function registerSegmentKeysRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new SegmentKeysService(core);

  registerRoute(app, {
    method: 'GET',
    url: KEYS,
    operationId: 'listSegmentKeys',
    tag: 'segments',
    summary: 'List the keys of one list of a segment',
    action: 'segment.read',
    params: segmentParams,
    query: keysQuerySchema,
    isList: true,
    replies: { 200: pageSchema(z.string()) },
    handle: ({ params, query }) => service.list(params, params.segmentKey, query),
  });

  registerRoute(app, {
    method: 'POST',
    url: KEYS,
    operationId: 'editSegmentKeys',
    tag: 'segments',
    summary: 'Add keys to a list of a segment and remove others, as one revision',
    description: 'If-Match is honoured but not required: adding and removing overwrites nothing.',
    action: 'segment.update-keys',
    params: segmentParams,
    body: keysEditSchema,
    replies: { 200: keysWriteSchema },
    handle: ({ params, body, write }) => service.edit(write, params, params.segmentKey, body),
  });

  registerUploads(app, new UploadService(core, service));
}

function registerUploads(app: FastifyInstance, uploads: UploadService): void {
  registerRoute(app, {
    method: 'POST',
    url: UPLOADS,
    operationId: 'createUpload',
    tag: 'segments',
    summary: 'Start an upload of up to 1 000 000 keys',
    description: 'Open for 24 hours. Put parts in any order, again after a failure, then complete it: one revision.',
    action: 'segment.update-keys',
    params: segmentParams,
    body: uploadCreateSchema,
    replies: { 201: uploadSchema },
    handle: ({ params, body, write }) => uploads.create(write, params, params.segmentKey, body),
  });

  registerRoute(app, {
    method: 'GET',
    url: UPLOAD,
    operationId: 'getUpload',
    tag: 'segments',
    summary: 'Read which parts of an upload have arrived',
    action: 'segment.read',
    params: uploadParams,
    replies: { 200: uploadSchema },
    handle: ({ params }) => uploads.read(params, params.segmentKey, params.uploadId),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: UPLOAD,
    operationId: 'deleteUpload',
    tag: 'segments',
    summary: 'Drop an upload and its parts',
    action: 'segment.update-keys',
    params: uploadParams,
    replies: { 204: null },
    handle: ({ params, write }) => uploads.abort(write, params, params.segmentKey, params.uploadId),
  });

  registerRoute(app, {
    method: 'POST',
    url: `${UPLOAD}/complete`,
    operationId: 'completeUpload',
    tag: 'segments',
    summary: 'Put all parts of an upload in force as one revision',
    action: 'segment.update-keys',
    description: 'Refused while a part between the first and the last, or up to `partCount`, has not arrived.',
    params: uploadParams,
    query: z.strictObject({
      partCount: z.coerce
        .number()
        .int()
        .min(1)
        .max(PARTS_PER_UPLOAD_MAX)
        .optional()
        .describe('How many parts were sent'),
    }),
    replies: { 200: keysWriteSchema },
    handle: ({ params, query, write }) =>
      uploads.complete(write, params, params.segmentKey, params.uploadId, query.partCount),
  });

  // A scope of its own: only here a body may be something else than one JSON text.
  void app.register(async (scope) => {
    scope.addContentTypeParser(NDJSON, { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
      request.bodyDigest = createHash('sha256').update(body).digest('hex');
      return parseKeyLines(body);
    });
    registerRoute(scope, {
      method: 'PUT',
      url: `${UPLOAD}/parts/:part`,
      operationId: 'putUploadPart',
      tag: 'segments',
      summary: 'Put one part of an upload: one JSON string a line, at most 1 MiB',
      description: `${NDJSON}, or the same keys as a JSON array. Putting a part again replaces it.`,
      action: 'segment.update-keys',
      params: partParams,
      body: z.array(z.string()),
      consumes: [NDJSON, 'application/json'],
      replies: { 200: uploadSchema },
      handle: ({ params, body, write }) =>
        uploads.putPart(write, params, params.segmentKey, params.uploadId, params.part, body),
    });
  });
}
