import type { TenantId } from '@guidon/protocol';
import type { Versioned } from '../commit/change.js';

/** Row of a membership: what a person may do in one tenant. */
export interface MemberRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly personId: string;
  /** Keys of roles. */
  readonly roles: readonly string[];
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

/** Row of an invitation that is open: accepting and revoking remove it. */
export interface InvitationRecord extends Versioned {
  readonly tenantId: TenantId;
  readonly invitationId: string;
  /** Whoever accepts has this address. */
  readonly email: string;
  readonly roles: readonly string[];
  /** SHA-256 of the secret in the link, hex. */
  readonly secretHash: string;
  readonly invitedBy: string;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly expiresAt: number;
}
