import type { TenantId } from '@guidon/protocol';
import type { Role } from '../roles/role.js';
import { INSTALLATION, type Scope } from '../store/keys.js';

/** Who a request acts as. The tenant comes from the credential alone. */
export type Actor =
  | { readonly kind: 'installation-admin'; readonly credentialId: string; readonly name: string }
  /** Somebody of one tenant; the roles say what he may do in it. */
  | {
      readonly kind: 'member';
      readonly credentialId: string;
      readonly name: string;
      readonly tenantId: TenantId;
      readonly roles: readonly Role[];
    }
  | { readonly kind: 'node'; readonly credentialId: string; readonly name: string }
  /** An SDK key. It may call nothing here. */
  | { readonly kind: 'sdk'; readonly credentialId: string; readonly name: string; readonly tenantId: TenantId }
  /** Nobody: on routes that are public. The policy allows it nothing. */
  | { readonly kind: 'anonymous'; readonly credentialId: 'anonymous'; readonly name: string }
  /** The platform itself, such as the first start. */
  | { readonly kind: 'system'; readonly credentialId: string; readonly name: string };

export const SYSTEM_ACTOR: Actor = { kind: 'system', credentialId: 'system', name: 'system' };

export const ANONYMOUS_ACTOR: Actor = { kind: 'anonymous', credentialId: 'anonymous', name: 'anonymous' };

/** Whose rows the actor's own records (idempotency, refusals) are. */
export function scopeOf(actor: Actor): Scope {
  return 'tenantId' in actor ? actor.tenantId : INSTALLATION;
}
