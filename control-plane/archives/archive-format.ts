import { PlatformError } from '@guidon/protocol';
import {
  isSignedBy,
  type Signed,
  type SigningKey,
  signDocument,
  type TrustedKey,
} from '@guidon/protocol/signed-config';
import type { TenantRecord } from '../tenants/tenant-record.js';

/**
 * The archive of one tenant: NDJSON in gzip. Every line ends with a line feed, the last one too.
 *
 *   line 1      {"format": "guidon-tenant-export", "version": 1, "exportedAt", "tenant": the tenant's row}
 *   line 2 ..   {"key": parts of a row's key without the tenant's id, "text": the row as it was stored}
 *   last line   {"seal", "treeHead", "keySet", "rootPublicKey"}: signed documents, base64
 *
 * The seal says how many rows there are and the SHA-256 of all lines before, so that nothing can be changed, dropped or added by who has not the key.
 * There are no secrets in it: not the hashes of credentials either.
 */
export const ARCHIVE_FORMAT = 'guidon-tenant-export';
export const ARCHIVE_VERSION = 1;

export interface ArchiveHeader {
  readonly format: typeof ARCHIVE_FORMAT;
  readonly version: number;
  readonly exportedAt: number;
  readonly tenant: TenantRecord;
}

export interface ArchiveRow {
  readonly key: readonly (string | number)[];
  readonly text: string;
}

export interface ArchiveSeal {
  readonly schema: 1;
  readonly tenantId: string;
  readonly rowCount: number;
  /** Hex. */
  readonly digest: string;
  readonly exportedAt: number;
  readonly keyId: string;
}

export interface ArchiveTrailer {
  readonly seal: string;
  readonly treeHead: string;
  readonly keySet: string;
  readonly rootPublicKey: string;
}

/** What is done with the rows of a noun. A noun that is not here cannot be exported: who adds one decides. */
export const ARCHIVED_NOUNS: Readonly<Record<string, 'kept' | 'without-hash' | 'left-out'>> = {
  role: 'kept',
  project: 'kept',
  environment: 'kept',
  flag: 'kept',
  'flag-tombstone': 'kept',
  audit: 'kept',
  'admin-credential': 'without-hash',
  targeting: 'kept',
  'flag-health': 'kept',
  segment: 'kept',
  'segment-tombstone': 'kept',
  'archived-keys': 'kept',
  credential: 'without-hash',
  state: 'kept',
  revision: 'kept',
  entry: 'kept',
  change: 'kept',
  name: 'kept',
  definition: 'kept',
  'definition-use': 'kept',
  // Signed by this installation for its own nodes, with hashes of secrets in it; made anew by an import.
  access: 'left-out',
  // Follow from what is kept.
  'audit-head': 'left-out',
  'audit-node': 'left-out',
  'audit-tree-head': 'left-out',
  usage: 'left-out',
  // The imported tenant's begins with its state.
  feed: 'left-out',
  'feed-start': 'left-out',
  // Not done yet, or for a day only.
  upload: 'left-out',
  'upload-part': 'left-out',
  idempotency: 'left-out',
  // Their secrets are sealed for this installation, and no receiver expects to be told by two.
  webhook: 'left-out',
  trigger: 'left-out',
  'trigger-state': 'left-out',
  'webhook-state': 'left-out',
  'webhook-delivery': 'left-out',
  'webhook-redelivery': 'left-out',
  // Counted here, for a while: they say nothing of what the tenant has.
  'event-seen': 'left-out',
  'usage-minutes': 'left-out',
  'usage-hours': 'left-out',
  'metric-minutes': 'left-out',
  'metric-hours': 'left-out',
  exposed: 'left-out',
  'exposed-count': 'left-out',
  'flag-usage': 'left-out',
  'unknown-flags': 'left-out',
  'event-senders': 'left-out',
  'event-log': 'left-out',
  'event-log-head': 'left-out',
  // People are of the installation: what they may do in the tenant is given anew.
  member: 'left-out',
  invitation: 'left-out',
};

export function signSeal(seal: Omit<ArchiveSeal, 'schema' | 'keyId'>, key: SigningKey): Signed {
  const document: ArchiveSeal = { schema: 1, ...seal, keyId: key.keyId };
  return signDocument(Buffer.from(JSON.stringify(document)), key);
}

/** The seal, when one of `keys` has signed it while it was in force. */
export function openSeal(signed: Signed, keys: readonly TrustedKey[]): ArchiveSeal {
  const seal = JSON.parse(Buffer.from(signed.document).toString('utf8')) as ArchiveSeal;
  const key = keys.find(({ keyId }) => keyId === seal.keyId);
  if (seal.schema !== 1 || key === undefined || !isSignedBy(signed, key.publicKey)) {
    throw badArchive('its seal is not signed by a key of the installation that it names');
  }
  if (key.notAfter !== undefined && !(seal.exportedAt <= key.notAfter)) {
    throw badArchive('its seal was signed after its key had been retired');
  }
  return seal;
}

export function badArchive(detail: string): PlatformError {
  return new PlatformError('validation-failed', `this is no whole archive of a tenant: ${detail}`);
}
