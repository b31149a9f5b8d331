import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { auditActorOf } from '../admin-api/actor.js';
import { keySchema, tenantParams } from '../admin-api/params.js';
import { type Action, authorise, POLICY } from '../admin-api/policy.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ResourceReader } from '../admin-api/resource-reader.js';
import type { ControlPlaneCore } from '../core.js';
import { getTenant } from '../tenants/tenant-read-model.js';

const permissionSchema = z.object({
  action: z.string(),
  isAllowed: z.boolean(),
  reason: z.string().optional().describe('Why not'),
});

/** What the caller may do with one thing, action by action: what a page greys out, and why. */
export function registerPermissionRoutes(
  app: FastifyInstance,
  core: ControlPlaneCore,
  resources: ResourceReader,
): void {
  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/tenants/:tenantId/me/permissions',
    operationId: 'readOwnPermissions',
    tag: 'roles',
    summary: 'What I may do in a tenant, or with one thing of it',
    action: 'permission.read',
    params: tenantParams,
    query: z.strictObject({
      projectKey: keySchema.optional(),
      environmentKey: keySchema.optional(),
      flagKey: keySchema.optional(),
      segmentKey: keySchema.optional(),
    }),
    replies: {
      200: z
        .object({
          actor: z.object({
            kind: z.string(),
            credentialId: z.string(),
            name: z.string(),
            personId: z.string().optional(),
          }),
          roles: z.array(z.string()),
          resource: z.string().describe('As policies name it; empty is the tenant itself'),
          permissions: z.array(permissionSchema),
        })
        .meta({ id: 'OwnPermissions' }),
    },
    handle: ({ actor, params: { tenantId }, query }) => {
      getTenant(core.store, tenantId);
      const resource = resources.resourceOf({ tenantId, ...query });
      const permissions = (Object.keys(POLICY) as Action[]).map((action) => {
        const decision = authorise(actor, action, resource);
        const reason = decision.verdict === 'forbidden' ? { reason: decision.reason } : {};
        return { action, isAllowed: decision.verdict === 'allow', ...reason };
      });
      const roles = actor.kind === 'member' ? actor.roles.map(({ key }) => key) : [];
      return {
        status: 200,
        body: { actor: auditActorOf(actor), roles, resource: resource.path, permissions },
      };
    },
  });
}
