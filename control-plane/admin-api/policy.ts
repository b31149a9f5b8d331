import type { Actor } from './actor.js';

type Allowed = readonly Actor['kind'][];
const INSTALLATION_ONLY: Allowed = ['installation-admin', 'system'];
const ADMINS: Allowed = ['installation-admin', 'system', 'tenant-admin'];
const NODES: Allowed = ['node'];

/** Who may do what. Every route names one of these actions; a route whose action has no entry here fails the boot (I18). */
export const POLICY = {
  'tenant.create': INSTALLATION_ONLY,
  'tenant.list': INSTALLATION_ONLY,
  'tenant.read': ADMINS,
  'tenant.update': ADMINS,
  'tenant.archive': INSTALLATION_ONLY,
  'installation-credential.create': INSTALLATION_ONLY,
  'installation-credential.list': INSTALLATION_ONLY,
  'installation-credential.revoke': INSTALLATION_ONLY,
  'installation-audit.list': INSTALLATION_ONLY,
  'installation-audit.export': INSTALLATION_ONLY,
  'node-credential.create': INSTALLATION_ONLY,
  'node-credential.list': INSTALLATION_ONLY,
  'node-credential.revoke': INSTALLATION_ONLY,
  'admin-credential.create': ADMINS,
  'admin-credential.list': ADMINS,
  'admin-credential.revoke': ADMINS,
  'project.create': ADMINS,
  'project.list': ADMINS,
  'project.read': ADMINS,
  'project.update': ADMINS,
  'project.archive': ADMINS,
  'environment.create': ADMINS,
  'environment.list': ADMINS,
  'environment.read': ADMINS,
  'environment.update': ADMINS,
  'environment.archive': ADMINS,
  'revision.list': ADMINS,
  'credential.create': ADMINS,
  'credential.list': ADMINS,
  'credential.read': ADMINS,
  'credential.update': ADMINS,
  'credential.revoke': ADMINS,
  'credential.rotate': ADMINS,
  'flag.create': ADMINS,
  'flag.list': ADMINS,
  'flag.read': ADMINS,
  'flag.update': ADMINS,
  'flag.archive': ADMINS,
  'flag.delete': ADMINS,
  'targeting.list': ADMINS,
  'targeting.read': ADMINS,
  'targeting.update': ADMINS,
  'segment.create': ADMINS,
  'segment.list': ADMINS,
  'segment.read': ADMINS,
  'segment.update': ADMINS,
  'segment.update-keys': ADMINS,
  'segment.archive': ADMINS,
  'segment.delete': ADMINS,
  'environment.change': ADMINS,
  'audit.list': ADMINS,
  'audit.export': ADMINS,
  'node.read-config': NODES,
  'node.report-status': NODES,
  'node.list': INSTALLATION_ONLY,
  /** Recorded for refusals; no route has it and nobody may do it. */
  'authz.denied': [],
  /** Recorded for the first start; its route is public and guarded by the one-time token. */
  'setup.complete': [],
} as const satisfies Record<string, Allowed>;

export type Action = keyof typeof POLICY;

/** What the action is done to, as far as the path says. */
export interface Resource {
  /** The tenant that owns it; undefined = the installation. */
  readonly tenantId: string | undefined;
}

/**
 * `hidden`: it belongs to another tenant, so it answers like something that does not exist.
 * `wrong-kind`: this kind of credential never does this. `forbidden`: this kind may, this one may not.
 */
export type Decision = 'allow' | 'forbidden' | 'wrong-kind' | 'hidden';

/** The one place that decides. Everything that is not allowed here is denied. */
export function authorise(actor: Actor, action: Action, resource: Resource): Decision {
  const allowed: readonly string[] = POLICY[action];
  if (actor.kind === 'sdk') return 'wrong-kind';
  if (actor.kind === 'node') return allowed.includes('node') ? 'allow' : 'wrong-kind';
  if (actor.kind === 'tenant-admin' && resource.tenantId !== undefined && resource.tenantId !== actor.tenantId) {
    return 'hidden';
  }
  if (allowed.includes(actor.kind)) return 'allow';
  return allowed.includes('node') ? 'wrong-kind' : 'forbidden';
}
