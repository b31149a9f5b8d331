import { randomBytes } from 'node:crypto';
import { isId, parseTenantId, type TenantId } from '@guidon/protocol';
import { hashSecret, isSecretOf } from '@guidon/protocol/signed-config';
import type { InvitationRecord } from '../members/member-record.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

const DUMMY_HASH = hashSecret('no invitation has this secret');

/** `<tenant>.<invitation>.<256 random bits>`: it names its tenant itself, so no look-up row outside of it is needed. */
export function newInvitationToken(
  tenantId: TenantId,
  invitationId: string,
): { readonly token: string; readonly secretHash: string } {
  const secret = randomBytes(32).toString('base64url');
  return { token: `${tenantId}.${invitationId}.${secret}`, secretHash: hashSecret(secret) };
}

/** The open invitation of a token; undefined for every reason alike. */
export function findInvitation(store: StoreReader, token: string, now: number): InvitationRecord | undefined {
  const [tenantId, invitationId, secret = '', ...rest] = token.split('.');
  const isWhole = isId(tenantId) && isId(invitationId) && rest.length === 0;
  const key = isWhole ? keys.invitation(parseTenantId(tenantId), invitationId) : undefined;
  const invitation = key === undefined ? undefined : store.find<InvitationRecord>(key);
  const isRight = isSecretOf(secret, invitation?.secretHash ?? DUMMY_HASH);
  return isRight && invitation !== undefined && invitation.expiresAt > now ? invitation : undefined;
}
