import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { BUILT_IN_ROLES } from './built-in-roles.js';
import { getRole, isBuiltIn } from './role-read-model.js';
import { createRoleBody, RoleService, replyOf, roleSchema } from './role-service.js';
import { viewRole } from './role-view.js';

const ROLES = '/api/v1/tenants/:tenantId/roles';
const ROLE = `${ROLES}/:roleKey`;
const roleParams = tenantParams.extend({ roleKey: z.string() });

export function registerRoleRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;
  const service = new RoleService(core);

  registerRoute(app, {
    method: 'GET',
    url: ROLES,
    operationId: 'listRoles',
    tag: 'roles',
    summary: 'List the roles of a tenant; built-in ones are on the first page besides',
    action: 'role.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(roleSchema) },
    handle: ({ params: { tenantId }, query }) => {
      getTenant(store, tenantId);
      const { items, nextCursor } = listPage(store, keys.roles(tenantId), query, viewRole);
      const builtIn = query.cursor === undefined ? BUILT_IN_ROLES.map(viewBuiltIn) : [];
      return { status: 200, body: { items: [...builtIn, ...items], nextCursor } };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: ROLES,
    operationId: 'createRole',
    tag: 'roles',
    summary: 'Create a role: sentences of what is allowed and denied; denials win, what nothing allows is denied',
    action: 'role.create',
    params: tenantParams,
    body: createRoleBody,
    replies: { 201: roleSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, body),
  });

  registerRoute(app, {
    method: 'GET',
    url: ROLE,
    operationId: 'getRole',
    tag: 'roles',
    summary: 'Read a role',
    action: 'role.read',
    params: roleParams,
    replies: { 200: roleSchema },
    handle: ({ params: { tenantId, roleKey } }) => {
      getTenant(store, tenantId);
      const builtIn = BUILT_IN_ROLES.find(({ key }) => key === roleKey);
      if (builtIn !== undefined) return { status: 200, body: viewBuiltIn(builtIn) };
      return replyOf(getRole(store, tenantId, roleKey));
    },
  });

  registerRoute(app, {
    method: 'PATCH',
    url: ROLE,
    operationId: 'updateRole',
    tag: 'roles',
    summary: 'Edit name, description or statements of a role; whoever has it may something else from now on',
    action: 'role.update',
    params: roleParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: roleSchema },
    handle: ({ params, body, write }) =>
      service.update(write, params.tenantId, params.roleKey, readPatch({ body, write })),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: ROLE,
    operationId: 'deleteRole',
    tag: 'roles',
    summary: 'Delete a role that nobody has',
    action: 'role.delete',
    params: roleParams,
    changesExisting: true,
    replies: { 204: null },
    handle: ({ params, write }) => service.delete(write, params.tenantId, params.roleKey),
  });
}

function viewBuiltIn({ key, statements }: (typeof BUILT_IN_ROLES)[number]): z.infer<typeof roleSchema> {
  return { key, isBuiltIn: isBuiltIn(key), name: key, description: '', statements: [...statements], version: 0 };
}
