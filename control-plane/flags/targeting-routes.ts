import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { environmentParams } from '../admin-api/params.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment } from '../environments/environment-read-model.js';
import { keys } from '../store/keys.js';
import type { FlagRecord } from './flag-record.js';
import { archivedQuery, isShown } from './flag-routes.js';
import { getTargeting } from './flag-store.js';
import { targetingBody } from './targeting-input.js';
import { TargetingService } from './targeting-service.js';
import { revisionOf, targetingSchema, targetingSummarySchema, viewTargetingSummary } from './targeting-view.js';

const FLAGS = '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/flags';
const TARGETING = `${FLAGS}/:flagKey/targeting`;
const targetingParams = environmentParams.extend({ flagKey: z.string() });

export function registerTargetingRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new TargetingService(core);

  registerRoute(app, {
    method: 'GET',
    url: FLAGS,
    operationId: 'listTargetings',
    tag: 'targeting',
    summary: 'List the flags as one environment sees them',
    action: 'targeting.list',
    params: environmentParams,
    query: listQuerySchema.extend(archivedQuery),
    isList: true,
    replies: { 200: pageSchema(targetingSummarySchema).extend({ revision: z.int() }) },
    handle: ({ params, query }) => {
      const { store } = core;
      const { project, environment } = getEnvironment(store, params);
      const page = listPage<FlagRecord, object>(
        store,
        keys.flags(params.tenantId, project.projectId),
        query,
        (flag) => viewTargetingSummary(flag, getTargeting(store, environment, flag.key)),
        { keep: (flag) => isShown(query.archived, flag.archivedAt !== null) },
      );
      return { status: 200, body: { ...page, revision: revisionOf(store, environment) } };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: TARGETING,
    operationId: 'getTargeting',
    tag: 'targeting',
    summary: "Read a flag's targeting in one environment",
    action: 'targeting.read',
    params: targetingParams,
    replies: { 200: targetingSchema },
    handle: ({ params }) => service.read(params, params.flagKey),
  });

  registerRoute(app, {
    method: 'PUT',
    url: TARGETING,
    operationId: 'putTargeting',
    tag: 'targeting',
    summary: "Replace a flag's targeting in one environment",
    description: 'The salt stays as it is.',
    action: 'targeting.update',
    params: targetingParams,
    body: targetingBody,
    changesExisting: true,
    replies: { 200: targetingSchema },
    handle: ({ params, body, write }) => service.put(write, params, params.flagKey, body),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: TARGETING,
    operationId: 'updateTargeting',
    tag: 'targeting',
    summary: "Edit a flag's targeting in one environment",
    description:
      'A merge patch that gives the fallthrough a variation takes its rollout away, and the other way round. Pointers of a refusal go into the patched targeting.',
    action: 'targeting.update',
    params: targetingParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: targetingSchema },
    handle: ({ params, body, write }) => service.update(write, params, params.flagKey, readPatch({ body, write })),
  });
}
