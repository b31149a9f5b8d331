import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { tenantParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import type { RequestRates } from './request-rates.js';
import { allowedOf, RESOURCE_LIMITS, RESOURCES, type Resource } from './tenant-quotas.js';
import { findUsage } from './tenant-usage.js';

const usageOf = (words: string) =>
  z.object({ used: z.int(), allowed: z.int().nullable().describe('null = no limit') }).describe(words);

const usageSchema = z
  .object({
    ...(Object.fromEntries(RESOURCES.map((resource) => [resource, usageOf(RESOURCE_LIMITS[resource].words)])) as Record<
      Resource,
      ReturnType<typeof usageOf>
    >),
    adminRequestsPerSecond: usageOf('Of the last second, by the tenant’s own people and machines'),
  })
  .meta({ id: 'TenantUsage' });

/** What a tenant has of what it may have. */
export function registerUsageRoutes(app: FastifyInstance, core: ControlPlaneCore, rates: RequestRates): void {
  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/tenants/:tenantId/usage',
    operationId: 'readTenantUsage',
    tag: 'tenants',
    summary: 'What a tenant has, and how much it may have',
    description: 'The quotas of the tenant say what it may have; what is archived counts.',
    action: 'usage.read',
    params: tenantParams,
    replies: { 200: usageSchema },
    handle: ({ params: { tenantId } }) => {
      const { quotas } = getTenant(core.store, tenantId);
      const usage = findUsage(core.store, tenantId);
      const resources = RESOURCES.map((resource) => [
        resource,
        { used: usage[resource] ?? 0, allowed: allowedOf(quotas, resource) },
      ]);
      const adminRequestsPerSecond = {
        used: rates.lastSecond(tenantId),
        allowed: quotas?.adminRequestsPerSecond ?? null,
      };
      return { status: 200, body: { ...Object.fromEntries(resources), adminRequestsPerSecond } };
    },
  });
}
