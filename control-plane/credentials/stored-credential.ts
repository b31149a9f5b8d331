import type { CredentialKind } from '@guidon/protocol/signed-config';
import type { Versioned } from '../commit/change.js';
import type { Scope } from '../store/keys.js';

/** Row under `keys.credentialOwner`: where the credential of an id lies. */
export interface CredentialOwnerRow {
  readonly kind: CredentialKind;
  readonly scope: Scope;
  /** Of `srv` and `web` keys. */
  readonly environmentId: string | null;
}

/** Row of an `adm` or `node` credential. The secret itself is nowhere. */
export interface PlatformCredentialRecord extends Versioned {
  readonly credentialId: string;
  readonly name: string;
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  /** Epoch milliseconds; null = no end. */
  readonly notAfter: number | null;
  readonly createdAt: number;
  /** Epoch milliseconds; null = in force. */
  readonly revokedAt: number | null;
  /** Whose token it is. Absent: a service account, or not of a tenant. */
  readonly personId?: string;
  /** What a person’s token is narrowed to, none = not at all; otherwise: keys of roles, of `adm` credentials of a tenant. Absent in rows of older builds: owner. */
  readonly roles?: readonly string[];
}
