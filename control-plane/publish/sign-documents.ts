import { randomBytes } from 'node:crypto';
import type { EnvironmentRef } from '@guidon/protocol';
import {
  type AccessEntry,
  type AccessList,
  DOCUMENT_SCHEMA,
  encodeDocument,
  type Manifest,
  parseAccessList,
  parseManifest,
  type Signed,
  type SigningKey,
  signDocument,
  type TenantQuotas,
} from '@guidon/protocol/signed-config';
import type { CredentialRecord } from '../credentials/credential-record.js';

/** How long a manifest may be taken as new; one already active is kept past it. What is served is renewed at half of it. */
export const MANIFEST_TTL_MS = 90 * 24 * 3_600_000;
/** A revoked or expired key stays listed as such for a day, so that a node can tell it from one it has not heard of yet. */
const ENDED_LISTED_MS = 24 * 3_600_000;
const CACHE_TOKEN_BYTES = 16;

interface ManifestFacts {
  readonly epoch: number;
  readonly revision: number;
  readonly previousDigest: string;
  readonly digest: string;
  readonly now: number;
}

export function signManifest(environment: EnvironmentRef, at: ManifestFacts, key: SigningKey): Signed {
  return signDocument(encodeManifest(environment, at, key), key);
}

function encodeManifest(environment: EnvironmentRef, at: ManifestFacts, key: SigningKey): Uint8Array {
  const manifest: Manifest = {
    tenantId: environment.tenantId,
    projectId: environment.projectId,
    environmentId: environment.environmentId,
    epoch: at.epoch,
    revision: at.revision,
    previousDigest: at.previousDigest,
    digest: at.digest,
    schema: DOCUMENT_SCHEMA,
    keyId: key.keyId,
    issuedAt: at.now,
    expiresAt: at.now + MANIFEST_TTL_MS,
  };
  return encodeDocument(manifest);
}

/**
 * The manifest as it is while more than half of its time is left and its key is the one that signs, else signed again with new dates and
 * everything else the same: a node that comes to an environment nobody has changed for months must still be able to take it, and a key
 * that was revoked must not stand in anybody's way.
 */
export function renewManifest(environment: EnvironmentRef, signed: Signed, now: number, key: SigningKey): Signed {
  const manifest = parseManifest(signed.document);
  if (manifest.keyId === key.keyId && manifest.expiresAt - now > MANIFEST_TTL_MS / 2) return signed;
  return signManifest(environment, { ...manifest, now }, key);
}

/** The access list as it is when the key that signs has signed it, else the same one signed again. */
export function renewAccessList(signed: Signed, now: number, key: SigningKey): Signed {
  const accessList = parseAccessList(signed.document);
  if (accessList.keyId === key.keyId) return signed;
  return signDocument(encodeDocument({ ...accessList, keyId: key.keyId, issuedAt: now }), key);
}

export function signAccessList(
  environment: EnvironmentRef,
  at: { epoch: number; sequence: number; now: number },
  {
    quotas = {},
    credentials,
    cacheToken,
  }: { quotas?: TenantQuotas | undefined; credentials: readonly CredentialRecord[]; cacheToken: string },
  key: SigningKey,
): Signed {
  const accessList: AccessList = {
    tenantId: environment.tenantId,
    projectId: environment.projectId,
    environmentId: environment.environmentId,
    epoch: at.epoch,
    sequence: at.sequence,
    schema: DOCUMENT_SCHEMA,
    keyId: key.keyId,
    issuedAt: at.now,
    cacheToken,
    ...presentQuotas(quotas),
    entries: credentials.filter((credential) => isListed(credential, at.now)).map(accessEntry),
  };
  return signDocument(encodeDocument(accessList), key);
}

/**
 * The token in force, or a new one when a `srv` key that could read config when `before` was signed cannot any more: it has seen the path, and
 * a shared cache asks nobody.
 */
export function cacheTokenAfter(
  before: AccessList | undefined,
  credentials: readonly CredentialRecord[],
  now: number,
): string {
  const open = new Set(
    credentials
      .filter(({ revokedAt, notAfter }) => revokedAt === null && (notAfter === null || now < notAfter))
      .map(({ credentialId }) => credentialId),
  );
  const isLost = before?.entries.some(
    ({ credentialId, kind, revoked, notAfter }) =>
      kind === 'srv' && !revoked && (notAfter === null || before.issuedAt < notAfter) && !open.has(credentialId),
  );
  return before?.cacheToken === undefined || isLost === true
    ? randomBytes(CACHE_TOKEN_BYTES).toString('base64url')
    : before.cacheToken;
}

function isListed({ revokedAt, notAfter }: CredentialRecord, now: number): boolean {
  const endedAt = Math.min(revokedAt ?? Number.POSITIVE_INFINITY, notAfter ?? Number.POSITIVE_INFINITY);
  return now - endedAt < ENDED_LISTED_MS;
}

function accessEntry(credential: CredentialRecord): AccessEntry {
  return {
    credentialId: credential.credentialId,
    kind: credential.kind,
    secretHash: credential.secretHash,
    notAfter: credential.notAfter,
    revoked: credential.revokedAt !== null,
    permissions: credential.permissions,
    allowedOrigins: credential.allowedOrigins,
    ...presentQuotas(credential.quotas ?? {}),
  };
}

/** A list without quotas has the bytes that it had before there were any. */
function presentQuotas<Quotas extends object>(quotas: Quotas): { quotas?: Quotas } {
  return Object.keys(quotas).length === 0 ? {} : { quotas };
}
