import type { TenantId } from '@guidon/protocol';
import type { TenantQuotas } from '@guidon/protocol/signed-config';
import type { Versioned } from '../commit/change.js';

export interface TenantRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly key: string;
  readonly name: string;
  readonly archived: boolean;
  /** Absent: the nodes' defaults. */
  readonly quotas?: TenantQuotas;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
