import type { TenantId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';

export interface TenantRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly key: string;
  readonly name: string;
  readonly archived: boolean;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
