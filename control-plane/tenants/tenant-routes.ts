import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import { registerArchiveRoutes } from '../admin-api/register-archive-routes.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getTenant } from './tenant-read-model.js';
import type { TenantRecord } from './tenant-record.js';
import { createTenantBody, replyOf, TenantService } from './tenant-service.js';
import { type TenantView, tenantSchema, viewTenant } from './tenant-view.js';

const TENANTS = '/api/v1/tenants';
const TENANT = `${TENANTS}/:tenantId`;

export function registerTenantRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new TenantService(core);

  registerRoute(app, {
    method: 'GET',
    url: TENANTS,
    operationId: 'listTenants',
    tag: 'tenants',
    summary: 'List tenants',
    action: 'tenant.list',
    params: z.object({}),
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(tenantSchema) },
    handle: ({ query }) => ({
      status: 200,
      body: listPage<TenantRecord, TenantView>(core.store, keys.tenants(), query, viewTenant),
    }),
  });

  registerRoute(app, {
    method: 'POST',
    url: TENANTS,
    operationId: 'createTenant',
    tag: 'tenants',
    summary: 'Create a tenant',
    action: 'tenant.create',
    params: z.object({}),
    body: createTenantBody,
    replies: { 201: tenantSchema },
    handle: ({ body, write }) => service.create(write, body),
  });

  registerRoute(app, {
    method: 'GET',
    url: TENANT,
    operationId: 'getTenant',
    tag: 'tenants',
    summary: 'Read a tenant',
    action: 'tenant.read',
    params: tenantParams,
    replies: { 200: tenantSchema },
    handle: ({ params }) => replyOf(getTenant(core.store, params.tenantId)),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: TENANT,
    operationId: 'updateTenant',
    tag: 'tenants',
    summary: 'Rename a tenant or set its quotas',
    description: 'Quotas are for admins of the installation; they reach every node with the access lists.',
    action: 'tenant.update',
    params: tenantParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: tenantSchema },
    handle: ({ params, body, write }) => service.update(write, params.tenantId, readPatch({ body, write })),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: TENANT,
    operationId: 'deleteTenant',
    tag: 'tenants',
    summary: 'Delete an archived tenant and everything of it',
    description: 'Nothing can bring it back but the import of an export. Answers when nothing is left.',
    action: 'tenant.delete',
    params: tenantParams,
    query: z.strictObject({ confirm: z.string().describe('The key of the tenant') }),
    changesExisting: true,
    replies: { 204: null },
    handle: ({ params, query, write }) => service.delete(write, params.tenantId, query.confirm),
  });

  registerArchiveRoutes(app, {
    url: TENANT,
    name: 'Tenant',
    tag: 'tenants',
    summary: 'Archive a tenant',
    action: 'tenant.archive',
    params: tenantParams,
    reply: tenantSchema,
    setArchived: (write, params, isArchived) => service.setArchived(write, params.tenantId, isArchived),
  });
}
