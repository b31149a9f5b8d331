import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { type ListQuery, listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams, timestampSchema } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { Reply } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION, keys, type Scope } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import type { AuditEntry, AuditRow } from './audit-entry.js';

const auditEntrySchema = z
  .object({
    sequence: z.int(),
    hash: z.string().describe('SHA-256 over 0x00 and `text`'),
    text: z.string().describe('The entry exactly as it was hashed'),
    at: timestampSchema,
    actor: z.object({ kind: z.string(), credentialId: z.string(), name: z.string() }),
    requestId: z.string(),
    action: z.string(),
    subject: z.string(),
    summary: z.string(),
    environments: z.array(
      z.object({ environmentId: z.string(), epoch: z.int(), revision: z.int(), accessSequence: z.int() }),
    ),
  })
  .meta({ id: 'AuditEntry' });

export function registerAuditRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const list = (owner: Scope, query: ListQuery): Reply => ({
    status: 200,
    body: listPage<AuditRow, object>(core.store, keys.auditEntries(owner), query, viewEntry, { reverse: true }),
  });
  const answer = { query: listQuerySchema, isList: true, replies: { 200: pageSchema(auditEntrySchema) } } as const;

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/tenants/:tenantId/audit',
    operationId: 'listAuditEntries',
    tag: 'audit',
    summary: 'List what was done in a tenant, newest first',
    action: 'audit.list',
    params: tenantParams,
    ...answer,
    handle: ({ params: { tenantId }, query }) => {
      getTenant(core.store, tenantId);
      return list(tenantId, query);
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/audit',
    operationId: 'listInstallationAuditEntries',
    tag: 'audit',
    summary: 'List what was done to the installation itself, newest first',
    action: 'installation-audit.list',
    params: z.object({}),
    ...answer,
    handle: ({ query }) => list(INSTALLATION, query),
  });
}

function viewEntry({ text, hash }: AuditRow): object {
  return { ...(JSON.parse(text) as AuditEntry), text, hash };
}
