import { PlatformError } from '@guidon/protocol';
import { holdersOf } from '../roles/built-in-roles.js';
import { decideByRoles, type Target } from '../roles/role.js';
import type { Actor } from './actor.js';
import { notFound } from './problems.js';

type Allowed = readonly Actor['kind'][];
const INSTALLATION_ONLY: Allowed = ['installation-admin', 'system'];
/** Of whom a member's roles decide the rest. */
const TENANT: Allowed = ['installation-admin', 'system', 'member'];
const NODES: Allowed = ['node'];
/** What somebody who has logged in does with his own account; a token of his may not. */
const ACCOUNT: Allowed = ['person', 'installation-admin'];
/** What a member who has logged in does for himself in a tenant, whatever his roles. */
const OWN: Allowed = ['member'];

/** Who may do what. Every route names one of these actions; a route whose action has no entry here fails the boot (I18). */
export const POLICY = {
  'account.read': ACCOUNT,
  'account.link': ACCOUNT,
  'invitation.accept': ACCOUNT,
  'account.change-password': ACCOUNT,
  'session.list': ACCOUNT,
  'session.end': ACCOUNT,
  'person.list': INSTALLATION_ONLY,
  'person.read': INSTALLATION_ONLY,
  'person.update': INSTALLATION_ONLY,
  'tenant.create': INSTALLATION_ONLY,
  'tenant.list': INSTALLATION_ONLY,
  'tenant.read': TENANT,
  'tenant.update': TENANT,
  /** Needed besides `tenant.update` to change quotas; no route has it. */
  'tenant.limit': INSTALLATION_ONLY,
  'tenant.archive': INSTALLATION_ONLY,
  'tenant.delete': TENANT,
  'tenant.export': TENANT,
  'tenant.import': INSTALLATION_ONLY,
  'usage.read': TENANT,
  'installation-credential.create': INSTALLATION_ONLY,
  'installation-credential.list': INSTALLATION_ONLY,
  'installation-credential.revoke': INSTALLATION_ONLY,
  'installation-audit.list': INSTALLATION_ONLY,
  'installation-audit.export': INSTALLATION_ONLY,
  'node-credential.create': INSTALLATION_ONLY,
  'node-credential.list': INSTALLATION_ONLY,
  'node-credential.revoke': INSTALLATION_ONLY,
  'signing-key.list': INSTALLATION_ONLY,
  'signing-key.introduce': INSTALLATION_ONLY,
  'signing-key.activate': INSTALLATION_ONLY,
  'signing-key.revoke': INSTALLATION_ONLY,
  'admin-credential.create': TENANT,
  'admin-credential.list': TENANT,
  'admin-credential.revoke': TENANT,
  'personal-token.create': OWN,
  'personal-token.list': OWN,
  'personal-token.revoke': OWN,
  'member.list': TENANT,
  'member.read': TENANT,
  'member.update': TENANT,
  'member.remove': TENANT,
  'invitation.create': TENANT,
  'invitation.list': TENANT,
  'invitation.revoke': TENANT,
  'role.create': TENANT,
  'role.list': TENANT,
  'role.read': TENANT,
  'role.update': TENANT,
  'role.delete': TENANT,
  /** What one may do oneself. */
  'permission.read': TENANT,
  'project.create': TENANT,
  'project.list': TENANT,
  'project.read': TENANT,
  'project.update': TENANT,
  'project.archive': TENANT,
  'environment.create': TENANT,
  'environment.list': TENANT,
  'environment.read': TENANT,
  'environment.update': TENANT,
  'environment.archive': TENANT,
  'revision.list': TENANT,
  'revision.read': TENANT,
  /** What a context got, and since when: costs evaluations, unlike reading. */
  'revision.evaluate': TENANT,
  'credential.create': TENANT,
  'credential.list': TENANT,
  'credential.read': TENANT,
  'credential.update': TENANT,
  'credential.revoke': TENANT,
  'credential.rotate': TENANT,
  'flag.create': TENANT,
  'flag.list': TENANT,
  'flag.read': TENANT,
  'flag.update': TENANT,
  'flag.archive': TENANT,
  'flag.delete': TENANT,
  'flag.mark-health': TENANT,
  'targeting.list': TENANT,
  'targeting.read': TENANT,
  'targeting.update': TENANT,
  /** How often flags are evaluated, by whom, and which that are not there. */
  'flag-usage.read': TENANT,
  'segment.create': TENANT,
  'segment.list': TENANT,
  'segment.read': TENANT,
  'segment.update': TENANT,
  'segment.update-keys': TENANT,
  'segment.archive': TENANT,
  'segment.delete': TENANT,
  'environment.change': TENANT,
  /** Needed besides the action itself by every edit that changes what an environment serves; no route has it. */
  'environment.serve': TENANT,
  'trigger.create': TENANT,
  'trigger.list': TENANT,
  'trigger.read': TENANT,
  'trigger.delete': TENANT,
  'webhook.create': TENANT,
  'webhook.list': TENANT,
  'webhook.read': TENANT,
  'webhook.update': TENANT,
  'webhook.delete': TENANT,
  'webhook.rotate-secret': TENANT,
  'webhook.test': TENANT,
  'webhook.redeliver': TENANT,
  /** Each row besides asks for the action of what it is about. */
  'feed.read': TENANT,
  'audit.list': TENANT,
  'audit.export': TENANT,
  'node.read-config': NODES,
  'node.report-status': NODES,
  'node.send-events': NODES,
  'node.witness': NODES,
  'node.list': INSTALLATION_ONLY,
  'revision.release': INSTALLATION_ONLY,
  /** Recorded for refusals; no route has it and nobody may do it. */
  'authz.denied': [],
  /** Recorded for logins, whose routes are public. */
  'session.create': [],
  'session.refused': [],
  /** Recorded when an endpoint begins or ceases to fail, or is given up. */
  'webhook.fail': [],
  'webhook.recover': [],
  'webhook.disable': [],
  /** Recorded for changes that a tenant's policy hook refused, or could not be asked about. */
  'policy.refused': [],
  /** Recorded for the first start; its route is public and guarded by the one-time token. */
  'setup.complete': [],
  'break-glass.open': [],
  /** Recorded by the first start after `guidon restore`. */
  'installation.restore': [],
} as const satisfies Record<string, Allowed>;

export type Action = keyof typeof POLICY;

/** What the action is done to. */
export interface Resource extends Target {
  /** The tenant that owns it; undefined = the installation. */
  readonly tenantId: string | undefined;
}

/**
 * `hidden`: it belongs to another tenant, so it answers like something that does not exist.
 * `wrong-kind`: this kind of credential never does this. `forbidden`: this kind may, this one may not; the reason says why.
 */
export type Decision =
  | { readonly verdict: 'allow' | 'wrong-kind' | 'hidden' }
  | { readonly verdict: 'forbidden'; readonly reason: string };

const ALLOW: Decision = { verdict: 'allow' };

/** The one place that decides. Everything that is not allowed here is denied. */
export function authorise(actor: Actor, action: Action, resource: Resource): Decision {
  const allowed: readonly string[] = POLICY[action];
  if (actor.kind === 'sdk') return { verdict: 'wrong-kind' };
  if (actor.kind === 'node') return allowed.includes('node') ? ALLOW : { verdict: 'wrong-kind' };
  if (actor.kind === 'person' && resource.tenantId !== undefined) return { verdict: 'hidden' };
  if (actor.kind === 'member' && resource.tenantId !== undefined && resource.tenantId !== actor.tenantId) {
    return { verdict: 'hidden' };
  }
  if ((allowed === ACCOUNT || allowed === OWN) && !('sessionId' in actor)) {
    return { verdict: 'forbidden', reason: `${action} is for a person who has logged in` };
  }
  if (allowed === OWN && actor.kind !== 'member') {
    return { verdict: 'forbidden', reason: `${action} is for the members of the tenant` };
  }
  if (!allowed.includes(actor.kind)) {
    if (allowed.includes('node')) return { verdict: 'wrong-kind' };
    return { verdict: 'forbidden', reason: `${action} is for the installation’s admins` };
  }
  if (actor.kind !== 'member' || allowed === OWN) return ALLOW;
  for (const roles of [actor.roles, actor.narrowedTo ?? actor.roles]) {
    const decision = decideByRoles(roles, action, resource, holdersOf(action));
    if (!decision.isAllowed) return { verdict: 'forbidden', reason: decision.reason };
  }
  return ALLOW;
}

/** Throws what a refusal is answered with. */
export function assertAuthorised(decision: Decision): void {
  if (decision.verdict === 'forbidden') throw new PlatformError('forbidden', decision.reason);
  if (decision.verdict === 'hidden') throw notFound();
  if (decision.verdict === 'wrong-kind') {
    throw new PlatformError('wrong-key-kind', 'this kind of credential cannot call this endpoint');
  }
}
