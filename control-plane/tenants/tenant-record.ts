import type { TenantId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';
import type { TenantQuotas } from '../limits/tenant-quotas.js';

export interface TenantRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly key: string;
  readonly name: string;
  readonly archived: boolean;
  /** Absent: the nodes' defaults, and those of RESOURCE_LIMITS. */
  readonly quotas?: TenantQuotas;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
