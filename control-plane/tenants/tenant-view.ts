import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import { tenantQuotasSchema } from '../admin-api/quota-schemas.js';
import type { TenantRecord } from './tenant-record.js';

export const tenantSchema = z
  .object({
    id: z.string(),
    key: z.string(),
    name: z.string(),
    archived: z.boolean(),
    quotas: tenantQuotasSchema,
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Tenant' });
export type TenantView = z.infer<typeof tenantSchema>;

export function viewTenant({
  tenantId,
  key,
  name,
  archived,
  quotas = {},
  createdAt,
  version,
}: TenantRecord): TenantView {
  return { id: tenantId, key, name, archived, quotas, createdAt, version };
}
