import { parseTenantId } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { keySchema } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { proveGrowth } from './audit-proofs.js';

const sizeSchema = z.coerce.number().int().min(1);

/** What nodes need to be witnesses of the audit logs: the newest heads, and proof that a log only grew between two of them. */
export function registerWitnessRoutes(app: FastifyInstance, { store, treeHeads }: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: '/internal/v1/tree-heads',
    operationId: 'readNewestTreeHeads',
    tag: 'nodes',
    summary: 'The newest signed head of each audit log that has one newer than the cursor',
    action: 'node.witness',
    params: z.object({}),
    query: z.strictObject({ cursor: z.string().max(64).default('').describe('That of the answer before') }),
    replies: {
      200: z.object({
        heads: z.array(z.string()).describe('Signed documents, base64'),
        cursor: z.string(),
        hasMore: z.boolean(),
      }),
    },
    handle: ({ query }) => ({ status: 200, body: treeHeads.newestSince(query.cursor) }),
  });

  registerRoute(app, {
    method: 'GET',
    url: '/internal/v1/consistency-proof',
    operationId: 'proveGrowthToNode',
    tag: 'nodes',
    summary: 'Proof that the log of one size is the beginning of that of another (RFC 9162, 2.1.4)',
    action: 'node.witness',
    params: z.object({}),
    query: z.strictObject({
      owner: z.union([z.literal(INSTALLATION), keySchema]).describe('A tenant’s id, or $ for the installation'),
      first: sizeSchema,
      second: sizeSchema,
    }),
    replies: { 200: z.object({ hashes: z.array(z.string()) }) },
    handle: ({ query: { owner, first, second } }) => {
      const scope = owner === INSTALLATION ? INSTALLATION : getTenant(store, parseTenantId(owner)).tenantId;
      return { status: 200, body: proveGrowth(store, scope, first, second) };
    },
  });
}
