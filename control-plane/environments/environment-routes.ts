import type { FastifyInstance } from 'fastify';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { environmentParams, projectParams } from '../admin-api/params.js';
import { registerArchiveRoutes } from '../admin-api/register-archive-routes.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getProject } from '../projects/project-read-model.js';
import { keys } from '../store/keys.js';
import { getEnvironment } from './environment-read-model.js';
import type { EnvironmentRecord } from './environment-record.js';
import {
  createEnvironmentBody,
  EnvironmentService,
  type EnvironmentView,
  environmentSchema,
  replyOf,
  viewStoredEnvironment,
} from './environment-service.js';
import type { EnvironmentContentSource } from './new-environment-content.js';

const ENVIRONMENTS = '/api/v1/tenants/:tenantId/projects/:projectKey/environments';
const ENVIRONMENT = `${ENVIRONMENTS}/:environmentKey`;

export function registerEnvironmentRoutes(
  app: FastifyInstance,
  core: ControlPlaneCore,
  contentSources: readonly EnvironmentContentSource[],
): void {
  const service = new EnvironmentService(core, contentSources);
  registerReads(app, core);

  registerRoute(app, {
    method: 'POST',
    url: ENVIRONMENTS,
    operationId: 'createEnvironment',
    tag: 'environments',
    summary: 'Create an environment',
    description: 'Every flag of the project gets a targeting here that is off.',
    action: 'environment.create',
    params: projectParams,
    body: createEnvironmentBody,
    replies: { 201: environmentSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, params.projectKey, body),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: ENVIRONMENT,
    operationId: 'updateEnvironment',
    tag: 'environments',
    summary: 'Rename an environment',
    action: 'environment.update',
    params: environmentParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: environmentSchema },
    handle: ({ params, body, write }) => service.update(write, params, readPatch({ body, write })),
  });

  registerArchiveRoutes(app, {
    url: ENVIRONMENT,
    name: 'Environment',
    tag: 'environments',
    summary: 'Archive an environment',
    action: 'environment.archive',
    params: environmentParams,
    reply: environmentSchema,
    setArchived: (write, params, isArchived) => service.setArchived(write, params, isArchived),
  });
}

function registerReads(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;

  registerRoute(app, {
    method: 'GET',
    url: ENVIRONMENTS,
    operationId: 'listEnvironments',
    tag: 'environments',
    summary: 'List the environments of a project',
    action: 'environment.list',
    params: projectParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(environmentSchema) },
    handle: ({ params: { tenantId, projectKey }, query }) => {
      const { projectId } = getProject(store, tenantId, projectKey);
      const view = (record: EnvironmentRecord) => viewStoredEnvironment(store, record);
      const range = keys.environments(tenantId, projectId);
      return { status: 200, body: listPage<EnvironmentRecord, EnvironmentView>(store, range, query, view) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: ENVIRONMENT,
    operationId: 'getEnvironment',
    tag: 'environments',
    summary: 'Read an environment and where it stands',
    action: 'environment.read',
    params: environmentParams,
    replies: { 200: environmentSchema },
    handle: ({ params }) => replyOf(store, getEnvironment(store, params).environment),
  });
}
