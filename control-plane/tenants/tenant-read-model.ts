import type { TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { TenantRecord } from './tenant-record.js';

export function getTenant(store: StoreReader, tenantId: TenantId): TenantRecord {
  const tenant = store.find<TenantRecord>(keys.tenant(tenantId));
  if (tenant === undefined) throw notFound();
  return tenant;
}
