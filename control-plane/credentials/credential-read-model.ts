import type { EnvironmentRef } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { CredentialRecord } from './credential-record.js';

export function getCredential(store: StoreReader, environment: EnvironmentRef, credentialId: string): CredentialRecord {
  const credential = store.find<CredentialRecord>(keys.credential(environment, credentialId));
  if (credential === undefined) throw notFound();
  return credential;
}

/** Neither revoked nor expired. */
export function listOpenCredentials(store: StoreReader, environment: EnvironmentRef, now: number): CredentialRecord[] {
  return store
    .list<CredentialRecord>(keys.credentials(environment))
    .map(({ value }) => value)
    .filter((credential) => isOpen(credential, now));
}

export function isOpen(
  { revokedAt, notAfter }: Pick<CredentialRecord, 'revokedAt' | 'notAfter'>,
  now: number,
): boolean {
  return revokedAt === null && (notAfter === null || notAfter > now);
}
