import type { FastifyInstance } from 'fastify';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { projectParams, tenantParams } from '../admin-api/params.js';
import { registerArchiveRoutes } from '../admin-api/register-archive-routes.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { getProject } from './project-read-model.js';
import type { ProjectRecord } from './project-record.js';
import { createProjectBody, ProjectService, replyOf } from './project-service.js';
import { projectSchema, viewProject } from './project-view.js';

const PROJECTS = '/api/v1/tenants/:tenantId/projects';
const PROJECT = `${PROJECTS}/:projectKey`;

export function registerProjectRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new ProjectService(core);

  registerRoute(app, {
    method: 'GET',
    url: PROJECTS,
    operationId: 'listProjects',
    tag: 'projects',
    summary: 'List the projects of a tenant',
    action: 'project.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(projectSchema) },
    handle: ({ params: { tenantId }, query }) => {
      getTenant(core.store, tenantId);
      return {
        status: 200,
        body: listPage<ProjectRecord, object>(core.store, keys.projects(tenantId), query, viewProject),
      };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: PROJECTS,
    operationId: 'createProject',
    tag: 'projects',
    summary: 'Create a project',
    description: 'A new project has no environments.',
    action: 'project.create',
    params: tenantParams,
    body: createProjectBody,
    replies: { 201: projectSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, body),
  });

  registerRoute(app, {
    method: 'GET',
    url: PROJECT,
    operationId: 'getProject',
    tag: 'projects',
    summary: 'Read a project',
    action: 'project.read',
    params: projectParams,
    replies: { 200: projectSchema },
    handle: ({ params }) => replyOf(getProject(core.store, params.tenantId, params.projectKey)),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: PROJECT,
    operationId: 'updateProject',
    tag: 'projects',
    summary: 'Edit name or description of a project',
    action: 'project.update',
    params: projectParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: projectSchema },
    handle: ({ params, body, write }) =>
      service.update(write, params.tenantId, params.projectKey, readPatch({ body, write })),
  });

  registerArchiveRoutes(app, {
    url: PROJECT,
    name: 'Project',
    tag: 'projects',
    summary: 'Archive a project',
    action: 'project.archive',
    params: projectParams,
    reply: projectSchema,
    setArchived: (write, params, isArchived) =>
      service.setArchived(write, params.tenantId, params.projectKey, isArchived),
  });
}
