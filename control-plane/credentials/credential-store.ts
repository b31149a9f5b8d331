import type { EnvironmentRef } from '@guidon/protocol';
import type { Change, RecordWrite } from '../commit/change.js';
import { keys } from '../store/keys.js';
import type { CredentialRecord } from './credential-record.js';
import type { CredentialOwnerRow } from './stored-credential.js';

export function credentialWrite(
  environment: EnvironmentRef,
  read: CredentialRecord | undefined,
  value: CredentialRecord,
): RecordWrite {
  return { key: keys.credential(environment, value.credentialId), read, value };
}

/** The look-up that a presented token starts with. */
export function credentialOwnerRow(
  environment: EnvironmentRef,
  { credentialId, kind }: CredentialRecord,
): NonNullable<Change['rows']>[number] {
  const { tenantId, environmentId } = environment;
  const value: CredentialOwnerRow = { kind, scope: tenantId, environmentId };
  return { key: keys.credentialOwner(credentialId), value };
}
