import type { RecordWrite } from '../commit/change.js';
import { keys } from '../store/keys.js';
import type { TenantRecord } from './tenant-record.js';

export function tenantWrite(read: TenantRecord | undefined, value: TenantRecord): RecordWrite {
  return { key: keys.tenant(value.tenantId), read, value };
}
