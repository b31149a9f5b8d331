import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { environmentParams } from '../admin-api/params.js';
import { registerArchiveRoutes } from '../admin-api/register-archive-routes.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment, refOf } from '../environments/environment-read-model.js';
import { archivedQuery, isShown } from '../flags/flag-routes.js';
import { keys } from '../store/keys.js';
import { segmentCreateSchema } from './segment-input.js';
import type { SegmentRecord } from './segment-record.js';
import { SegmentService } from './segment-service.js';
import { getSegment } from './segment-store.js';
import { segmentSchema, segmentWriteSchema, viewSegment } from './segment-view.js';

const SEGMENTS = '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/segments';
export const SEGMENT = `${SEGMENTS}/:segmentKey`;
export const segmentParams = environmentParams.extend({ segmentKey: z.string() });

export function registerSegmentRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new SegmentService(core);
  registerSegmentReads(app, core);

  registerRoute(app, {
    method: 'POST',
    url: SEGMENTS,
    operationId: 'createSegment',
    tag: 'segments',
    summary: 'Create a segment in one environment',
    action: 'segment.create',
    params: environmentParams,
    body: segmentCreateSchema,
    replies: { 201: segmentWriteSchema },
    handle: ({ params, body, write }) => service.create(write, params, body),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: SEGMENT,
    operationId: 'updateSegment',
    tag: 'segments',
    summary: 'Edit a segment but for its keys',
    description: 'Applies to {name, description, tags, rules}.',
    action: 'segment.update',
    params: segmentParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: segmentWriteSchema },
    handle: ({ params, body, write }) => service.update(write, params, params.segmentKey, readPatch({ body, write })),
  });

  registerArchiveRoutes(app, {
    url: SEGMENT,
    name: 'Segment',
    tag: 'segments',
    summary: 'Archive a segment; its keys are kept',
    action: 'segment.archive',
    params: segmentParams,
    reply: segmentWriteSchema,
    setArchived: (write, params, isArchived) => service.setArchived(write, params, params.segmentKey, isArchived),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: SEGMENT,
    operationId: 'deleteSegment',
    tag: 'segments',
    summary: 'Delete a segment that has been archived for 7 days',
    action: 'segment.delete',
    params: segmentParams,
    query: z.strictObject({
      force: z
        .stringbool({ truthy: ['true'], falsy: ['false'] })
        .default(false)
        .describe('Do not wait for 7 days in the archive'),
    }),
    changesExisting: true,
    replies: { 200: segmentWriteSchema.pick({ revision: true }) },
    handle: ({ params, query, write }) => service.remove(write, params, params.segmentKey, query.force),
  });
}

function registerSegmentReads(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;

  registerRoute(app, {
    method: 'GET',
    url: SEGMENTS,
    operationId: 'listSegments',
    tag: 'segments',
    summary: 'List the segments of an environment',
    action: 'segment.list',
    params: environmentParams,
    query: listQuerySchema.extend(archivedQuery),
    isList: true,
    replies: { 200: pageSchema(segmentSchema) },
    handle: ({ params, query }) => {
      const range = keys.segments(refOf(getEnvironment(store, params).environment));
      const keep = (segment: SegmentRecord) => isShown(query.archived, segment.archivedAt !== null);
      return { status: 200, body: listPage<SegmentRecord, object>(store, range, query, viewSegment, { keep }) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: SEGMENT,
    operationId: 'getSegment',
    tag: 'segments',
    summary: 'Read a segment; its keys are a list of their own',
    action: 'segment.read',
    params: segmentParams,
    replies: { 200: segmentSchema },
    handle: ({ params }) => {
      const segment = getSegment(store, refOf(getEnvironment(store, params).environment), params.segmentKey);
      return { status: 200, body: viewSegment(segment), etag: segment.version };
    },
  });
}
