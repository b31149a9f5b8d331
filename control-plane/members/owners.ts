import { PlatformError, type TenantId } from '@guidon/protocol';
import type { Actor } from '../admin-api/actor.js';
import type { RecordRead } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { isOpen } from '../credentials/credential-read-model.js';
import type { PlatformCredentialRecord } from '../credentials/stored-credential.js';
import { findPerson } from '../people/person-read-model.js';
import { keys, type StoreKey } from '../store/keys.js';
import { listMembers } from './member-read-model.js';

const OWNER = 'owner';

/**
 * Somebody who could still give rights if `leaving` were gone: a member or a service account with the role owner. Whoever plans that relies on it,
 * so that two owners cannot go at the same time. Throws `last-owner`. Installation admins may do it all the same: they can make another one.
 */
export function mustHaveOtherOwner(
  { store, now }: ControlPlaneCore,
  actor: Actor,
  tenantId: TenantId,
  leaving: StoreKey,
): RecordRead[] {
  const members = listMembers(store, tenantId)
    .filter(({ roles, personId }) => roles.includes(OWNER) && findPerson(store, personId)?.disabledAt === null)
    .map((read) => ({ key: keys.member(tenantId, read.personId), read }));
  const accounts = store
    .list<PlatformCredentialRecord>(keys.adminCredentials(tenantId))
    .map(({ value }) => value)
    .filter((account) => isOwnerAccount(account) && isOpen(account, now()))
    .map((read) => ({ key: keys.adminCredential(tenantId, read.credentialId), read }));
  const other = [...members, ...accounts].find(({ key }) => key.join('/') !== leaving.join('/'));
  if (other !== undefined) return [other];
  if (actor.kind !== 'member') return [];
  throw new PlatformError('last-owner', 'nobody else has the role owner: give it to somebody first');
}

/** A service account, that is: a person's token is no owner beside the person. */
export function isOwnerAccount({ roles = [OWNER], personId }: PlatformCredentialRecord): boolean {
  return personId === undefined && roles.includes(OWNER);
}
