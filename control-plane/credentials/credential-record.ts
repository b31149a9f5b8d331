import type { CredentialQuotas } from '@guidon/protocol/signed-config';
import type { Versioned } from '../commit/change.js';

/** Row of an SDK key (`srv`, `web`). The secret itself is nowhere. */
export interface CredentialRecord extends Versioned {
  readonly credentialId: string;
  readonly kind: 'srv' | 'web';
  readonly name: string;
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  readonly permissions: readonly string[];
  readonly allowedOrigins: readonly string[];
  /** Rows from before there were quotas lack it. */
  readonly quotas?: CredentialQuotas;
  /** Epoch milliseconds; null = no end. */
  readonly notAfter: number | null;
  readonly createdAt: number;
  /** Epoch milliseconds; null = in force. */
  readonly revokedAt: number | null;
  /** The key that replaces this one, while both are valid. */
  readonly replacedBy: string | null;
}
