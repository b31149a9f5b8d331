import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { projectParams } from '../admin-api/params.js';
import { registerArchiveRoutes } from '../admin-api/register-archive-routes.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getProject } from '../projects/project-read-model.js';
import { keys } from '../store/keys.js';
import { flagCreateSchema } from './flag-input.js';
import type { FlagRecord } from './flag-record.js';
import { FlagService } from './flag-service.js';
import { getFlag } from './flag-store.js';
import { flagReply, flagSchema, flagWriteSchema, viewFlag } from './flag-view.js';

const FLAGS = '/api/v1/tenants/:tenantId/projects/:projectKey/flags';
const FLAG = `${FLAGS}/:flagKey`;
const flagParams = projectParams.extend({ flagKey: z.string() });
export const archivedQuery = {
  archived: z.enum(['false', 'true', 'all']).default('false').describe('Which ones to show'),
};

export function registerFlagRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new FlagService(core);
  registerFlagReads(app, core);

  registerRoute(app, {
    method: 'POST',
    url: FLAGS,
    operationId: 'createFlag',
    tag: 'flags',
    summary: 'Create a flag in all environments of its project',
    description:
      'A boolean flag needs no variations: on=true and off=false. In each environment it starts off, with the off variation `off` (else the last) and the first variation as fallthrough, unless initialTargeting says otherwise.',
    action: 'flag.create',
    params: projectParams,
    body: flagCreateSchema,
    replies: { 201: flagWriteSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, params.projectKey, body),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: FLAG,
    operationId: 'updateFlag',
    tag: 'flags',
    summary: 'Edit what a flag is in every environment',
    description:
      'Applies to {name, description, tags, lifetime, clientSide, variations, valueSchema}; key and type never change. Raises exactly the environments whose served definition changes. Removing a variation in use answers 409 in-use.',
    action: 'flag.update',
    params: flagParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: flagWriteSchema },
    handle: ({ params, body, write }) =>
      service.update(write, params.tenantId, params.projectKey, params.flagKey, readPatch({ body, write })),
  });

  registerArchiveRoutes(app, {
    url: FLAG,
    name: 'Flag',
    tag: 'flags',
    summary: 'Archive a flag: no environment serves it any more',
    action: 'flag.archive',
    params: flagParams,
    reply: flagWriteSchema,
    setArchived: (write, params, isArchived) =>
      service.setArchived(write, params.tenantId, params.projectKey, params.flagKey, isArchived),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: FLAG,
    operationId: 'deleteFlag',
    tag: 'flags',
    summary: 'Delete a flag that has been archived for 7 days',
    action: 'flag.delete',
    params: flagParams,
    query: z.strictObject({
      force: z
        .stringbool({ truthy: ['true'], falsy: ['false'] })
        .default(false)
        .describe('Do not wait for 7 days in the archive'),
    }),
    changesExisting: true,
    replies: { 200: flagWriteSchema.pick({ revisions: true }) },
    handle: ({ params, query, write }) =>
      service.remove(write, params.tenantId, params.projectKey, params.flagKey, query.force),
  });
}

function registerFlagReads(app: FastifyInstance, core: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: FLAGS,
    operationId: 'listFlags',
    tag: 'flags',
    summary: 'List the flags of a project',
    action: 'flag.list',
    params: projectParams,
    query: listQuerySchema.extend(archivedQuery),
    isList: true,
    replies: { 200: pageSchema(flagSchema) },
    handle: ({ params: { tenantId, projectKey }, query }) => {
      const { projectId } = getProject(core.store, tenantId, projectKey);
      const range = keys.flags(tenantId, projectId);
      const keep = (flag: FlagRecord) => isShown(query.archived, flag.archivedAt !== null);
      return { status: 200, body: listPage<FlagRecord, object>(core.store, range, query, viewFlag, { keep }) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: FLAG,
    operationId: 'getFlag',
    tag: 'flags',
    summary: 'Read a flag',
    action: 'flag.read',
    params: flagParams,
    replies: { 200: flagSchema },
    handle: ({ params: { tenantId, projectKey, flagKey } }) => {
      const { projectId } = getProject(core.store, tenantId, projectKey);
      return flagReply(getFlag(core.store, tenantId, projectId, flagKey));
    },
  });
}

export function isShown(archived: 'false' | 'true' | 'all', isArchived: boolean): boolean {
  return archived === 'all' || (archived === 'true') === isArchived;
}
