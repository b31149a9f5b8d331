import { type Issue, PlatformError, type TenantId } from '@guidon/protocol';
import { z } from 'zod';
import type { Actor } from '../admin-api/actor.js';
import { descriptionSchema, keySchema, nameSchema } from '../admin-api/params.js';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import type { PlatformCredentialRecord } from '../credentials/stored-credential.js';
import { listMembers } from '../members/member-read-model.js';
import type { InvitationRecord } from '../members/member-record.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { assertMayRewrite, findMissingDenials, mayGive } from './may-give.js';
import { statementsSchema } from './role.js';
import { findRole, getRole, isBuiltIn, resolveRoles } from './role-read-model.js';
import type { RoleRecord } from './role-record.js';
import { viewRole } from './role-view.js';

const editable = { name: nameSchema, description: descriptionSchema, statements: statementsSchema };
export const createRoleBody = z.strictObject({
  key: keySchema,
  ...editable,
  description: descriptionSchema.default(''),
});
const rolePatchSchema = z.strictObject(editable);

export const roleSchema = z
  .object({
    key: z.string(),
    isBuiltIn: z.boolean(),
    ...editable,
    version: z.int().describe('0 for built-in roles, which nobody changes'),
  })
  .meta({ id: 'Role' });

/** Roles that a tenant writes for itself. */
export class RoleService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, tenantId: TenantId, body: z.infer<typeof createRoleBody>): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const tenant = getTenant(store, tenantId);
      if (tenant.archived) throw new PlatformError('conflict', 'the tenant is archived');
      if (findRole(store, tenantId, body.key) !== undefined) {
        throw new PlatformError('conflict', `the role ${body.key} exists already`);
      }
      const role: RoleRecord = { version: 1, tenantId, ...body, createdAt: now() };
      return {
        ...changeOf(undefined, role),
        action: 'role.create',
        summary: `Created role ${role.key}`,
        relied: [{ key: keys.tenant(tenantId), read: tenant }],
        reply: () => ({ ...replyOf(role), status: 201 }),
      };
    });
  }

  update(write: WriteRequest, tenantId: TenantId, roleKey: string, patch: Patch): Promise<Reply> {
    return this.#core.committer.commit(write, undefined, () => {
      const before = this.#getOwn(tenantId, roleKey);
      assertIfMatch(write, before);
      assertMayRewrite(write.actor, before);
      const { name, description, statements } = before;
      const edited = parseWith(rolePatchSchema, applyPatch({ name, description, statements: [...statements] }, patch));
      const after: RoleRecord = { ...before, ...edited, version: before.version + 1 };
      return {
        ...changeOf(before, after),
        action: 'role.update',
        summary: `Edited role ${roleKey}`,
        reply: () => replyOf(after),
      };
    });
  }

  /** Refused while a credential that is in force, a member or an open invitation has it. */
  delete(write: WriteRequest, tenantId: TenantId, roleKey: string): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = this.#getOwn(tenantId, roleKey);
      assertIfMatch(write, before);
      const users = store
        .list<PlatformCredentialRecord>(keys.adminCredentials(tenantId))
        .map(({ value }) => value)
        .filter(({ roles = [], revokedAt }) => revokedAt === null && roles.includes(roleKey));
      const members = listMembers(store, tenantId).filter(({ roles }) => roles.includes(roleKey));
      const invitations = store
        .list<InvitationRecord>(keys.invitations(tenantId))
        .filter(({ value }) => value.roles.includes(roleKey));
      const pointers = [
        ...users.map(({ credentialId }) => `/admin-credentials/${credentialId}`),
        ...members.map(({ personId }) => `/members/${personId}`),
        ...invitations.map(({ value }) => `/invitations/${value.invitationId}`),
      ];
      if (pointers.length > 0) throw inUse(roleKey, pointers);
      return {
        ...changeOf(before, undefined),
        action: 'role.delete',
        summary: `Deleted role ${roleKey}`,
        reply: () => ({ status: 204, body: undefined }),
      };
    });
  }

  #getOwn(tenantId: TenantId, roleKey: string): RoleRecord {
    getTenant(this.#core.store, tenantId);
    if (isBuiltIn(roleKey)) throw new PlatformError('conflict', `${roleKey} is a built-in role: write one of your own`);
    return getRole(this.#core.store, tenantId, roleKey);
  }
}

/**
 * Throws `validation-failed` for roles that are not there, and `privilege-escalation` for those the actor may not give away, or not
 * without a denial of its own. `roles` are all that somebody has from then on.
 */
export function assertGrantable(
  core: ControlPlaneCore,
  actor: Actor,
  tenantId: TenantId,
  roles: readonly string[],
): void {
  assertRoles(core, tenantId, roles, (key) => mayGive(actor, key));
  const missing = findMissingDenials(actor, resolveRoles(core.store, tenantId, roles));
  if (missing.length === 0) return;
  const detail = `what you give must have your own denials: add ${missing.join(', ')}`;
  const issues: Issue[] = [{ pointer: '/roles', code: 'privilege-escalation', detail }];
  throw new PlatformError('privilege-escalation', detail, { issues });
}

/** Throws `validation-failed` for roles that are not there: for narrowing, which gives nobody anything. */
export function assertKnownRoles(core: ControlPlaneCore, tenantId: TenantId, roles: readonly string[]): void {
  assertRoles(core, tenantId, roles, () => true);
}

function assertRoles(
  core: ControlPlaneCore,
  tenantId: TenantId,
  roles: readonly string[],
  mayBeGiven: (key: string) => boolean,
): void {
  const issues = roles.flatMap((key, index): Issue[] => {
    const pointer = `/roles/${index}`;
    if (findRole(core.store, tenantId, key) === undefined) {
      return [{ pointer, code: 'validation-failed', detail: `there is no role ${key}` }];
    }
    if (mayBeGiven(key)) return [];
    return [{ pointer, code: 'privilege-escalation', detail: `you may not give the role ${key} away` }];
  });
  const [first] = issues;
  if (first !== undefined) throw new PlatformError(first.code, first.detail, { issues });
}

function inUse(roleKey: string, pointers: readonly string[]): PlatformError {
  return new PlatformError('in-use', `the role ${roleKey} is held, or promised by an invitation`, {
    issues: pointers.map((pointer) => ({ pointer, code: 'in-use' as const, detail: 'take it away first' })),
  });
}

function changeOf(
  before: RoleRecord | undefined,
  after: RoleRecord | undefined,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
  const role = after ?? before;
  if (role === undefined) throw new Error('a change has a role before or after it');
  return {
    owner: role.tenantId,
    subject: `roles/${role.key}`,
    before: before === undefined ? undefined : viewRole(before),
    after: after === undefined ? undefined : viewRole(after),
    records: [{ key: keys.role(role.tenantId, role.key), read: before, value: after }],
  };
}

export function replyOf(role: RoleRecord): Reply {
  return { status: 200, body: viewRole(role), etag: role.version };
}
