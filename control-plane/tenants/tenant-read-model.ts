import type { TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { TenantRecord } from './tenant-record.js';

export function findTenant(store: Pick<StoreReader, 'find'>, tenantId: TenantId): TenantRecord | undefined {
  return store.find<TenantRecord>(keys.tenant(tenantId));
}

export function getTenant(store: Pick<StoreReader, 'find'>, tenantId: TenantId): TenantRecord {
  const tenant = findTenant(store, tenantId);
  if (tenant === undefined) throw notFound();
  return tenant;
}
