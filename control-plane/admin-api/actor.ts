import type { TenantId } from '@guidon/protocol';
import type { Role } from '../roles/role.js';
import { INSTALLATION, type Scope } from '../store/keys.js';

interface Personal {
  /** Of the person behind it; absent for credentials that are nobody's. */
  readonly personId?: string;
  /** He has logged in, rather than sent a token: only so may he change his own account. */
  readonly sessionId?: string;
}

/** Who a request acts as. The tenant comes from the credential alone. */
export type Actor =
  | (Personal & { readonly kind: 'installation-admin'; readonly credentialId: string; readonly name: string })
  /** Somebody of one tenant; the roles say what he may do in it. */
  | (Personal & {
      readonly kind: 'member';
      readonly credentialId: string;
      readonly name: string;
      readonly tenantId: TenantId;
      readonly roles: readonly Role[];
      /** Of a token that may less than its person: what it does must be allowed by these, too. */
      readonly narrowedTo?: readonly Role[];
    })
  /** Somebody who has logged in and asks for nothing of a tenant that he is a member of: he has his own account and no more. */
  | (Personal & { readonly kind: 'person'; readonly credentialId: string; readonly name: string })
  | { readonly kind: 'node'; readonly credentialId: string; readonly name: string }
  /** An SDK key. It may call nothing here. */
  | { readonly kind: 'sdk'; readonly credentialId: string; readonly name: string; readonly tenantId: TenantId }
  /** Nobody: on routes that are public. The policy allows it nothing. */
  | { readonly kind: 'anonymous'; readonly credentialId: 'anonymous'; readonly name: string }
  /** The platform itself, such as the first start. */
  | { readonly kind: 'system'; readonly credentialId: string; readonly name: string };

export const SYSTEM_ACTOR: Actor = { kind: 'system', credentialId: 'system', name: 'system' };

export const ANONYMOUS_ACTOR: Actor = { kind: 'anonymous', credentialId: 'anonymous', name: 'anonymous' };

/** Who did it, as audit entries have it. */
export interface AuditActor {
  readonly kind: string;
  readonly credentialId: string;
  readonly name: string;
  readonly personId?: string;
}

export function auditActorOf(actor: Actor): AuditActor {
  const { kind, credentialId, name } = actor;
  const personId = 'personId' in actor ? actor.personId : undefined;
  return { kind, credentialId, name, ...(personId === undefined ? {} : { personId }) };
}

/** Whose rows the actor's own records (idempotency, refusals) are. */
export function scopeOf(actor: Actor): Scope {
  return 'tenantId' in actor ? actor.tenantId : INSTALLATION;
}

/** Who has logged in. The policy has let nobody else through to where this is asked. */
export function assertLoggedIn(actor: Actor): { personId: string; sessionId: string } {
  const { personId, sessionId } = 'personId' in actor ? actor : {};
  if (personId === undefined || sessionId === undefined) throw new Error('the route is open to more than sessions');
  return { personId, sessionId };
}
