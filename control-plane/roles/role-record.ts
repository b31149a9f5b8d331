import type { TenantId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';
import type { Role } from './role.js';

/** Row of a role that somebody of the tenant has written. */
export interface RoleRecord extends Versioned, Role {
  readonly tenantId: TenantId;
  readonly name: string;
  readonly description: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}
