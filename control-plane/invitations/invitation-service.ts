import { PlatformError, type TenantId } from '@guidon/protocol';
import { ulid } from 'ulid';
import { z } from 'zod';
import type { Actor } from '../admin-api/actor.js';
import { nameSchema, timestampSchema } from '../admin-api/params.js';
import { notFound } from '../admin-api/problems.js';
import type { Change, RecordWrite, Reply, WriteRequest } from '../commit/change.js';
import type { ControlPlaneCore } from '../core.js';
import { findMember, viewMember } from '../members/member-read-model.js';
import type { InvitationRecord, MemberRecord } from '../members/member-record.js';
import { memberRolesSchema } from '../members/member-service.js';
import { newPasswordSchema } from '../people/password-hasher.js';
import { emailKeyOf, emailSchema, findPersonByEmail, getPerson } from '../people/person-read-model.js';
import type { PersonRecord } from '../people/person-record.js';
import { newPersonId, planPerson } from '../people/person-store.js';
import { assertMayTake } from '../roles/may-give.js';
import { assertGrantable } from '../roles/role-service.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { findInvitation, newInvitationToken } from './invitation-token.js';

const INVITATION_MS = 7 * 24 * 3_600_000;
/** Expired ones that one creation clears away. */
const CLEARED_MAX = 100;

export const createInvitationBody = z.strictObject({ email: emailSchema, roles: memberRolesSchema });
export const invitationTokenSchema = z.string().max(256);
export const acceptInvitationBody = z.strictObject({
  token: invitationTokenSchema,
  name: nameSchema,
  password: newPasswordSchema,
});

export const invitationSchema = z
  .object({
    id: z.string(),
    email: z.string(),
    roles: z.array(z.string()),
    invitedBy: z.string(),
    createdAt: timestampSchema,
    expiresAt: timestampSchema,
  })
  .meta({ id: 'Invitation' });
export const newInvitationSchema = invitationSchema
  .extend({
    link: z.string().describe('To be sent to the person, behind the address of this control plane; shown this once'),
  })
  .meta({ id: 'NewInvitation' });

export function viewInvitation(invitation: InvitationRecord): z.infer<typeof invitationSchema> {
  const { invitationId, email, roles, invitedBy, createdAt, expiresAt } = invitation;
  return { id: invitationId, email, roles: [...roles], invitedBy, createdAt, expiresAt };
}

/** How people come into a tenant: a link that works once, for one address, with the roles it names. */
export class InvitationService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, tenantId: TenantId, body: z.infer<typeof createInvitationBody>): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const tenant = getTenant(store, tenantId);
      if (tenant.archived) throw new PlatformError('conflict', 'the tenant is archived');
      assertGrantable(this.#core, write.actor, tenantId, body.roles);
      const person = findPersonByEmail(store, body.email);
      if (person !== undefined && findMember(store, tenantId, person.personId) !== undefined) {
        throw new PlatformError('conflict', 'the person belongs to the tenant already');
      }
      const invitationId = `inv_${ulid()}`;
      const { token, secretHash } = newInvitationToken(tenantId, invitationId);
      const invitation: InvitationRecord = {
        version: 1,
        tenantId,
        invitationId,
        ...body,
        secretHash,
        invitedBy: write.actor.name,
        createdAt: now(),
        expiresAt: now() + INVITATION_MS,
      };
      const change = changeOf(undefined, invitation);
      return {
        ...change,
        action: 'invitation.create',
        summary: `Invited ${body.email} with the roles ${body.roles.join(', ')}`,
        feedSummary: `Invited somebody with the roles ${body.roles.join(', ')}`,
        records: [...change.records, ...this.#expired(tenantId)],
        relied: [{ key: keys.tenant(tenantId), read: tenant }],
        reply: () => ({ status: 201, body: { ...viewInvitation(invitation), link: `/invitation#${token}` } }),
      };
    });
  }

  revoke(write: WriteRequest, tenantId: TenantId, invitationId: string): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      getTenant(store, tenantId);
      const before = store.find<InvitationRecord>(keys.invitation(tenantId, invitationId));
      if (before === undefined) throw notFound();
      assertMayTake(write.actor, before.roles);
      return {
        ...changeOf(before, undefined),
        action: 'invitation.revoke',
        summary: `Revoked the invitation of ${before.email}`,
        feedSummary: 'Revoked an invitation',
        reply: () => ({ status: 204, body: undefined }),
      };
    });
  }

  /** The open invitation of a link, or the one answer for those used, revoked, expired and invented. */
  mustFind(token: string): InvitationRecord {
    const invitation = findInvitation(this.#core.store, token, this.#core.now());
    if (invitation !== undefined) return invitation;
    throw new PlatformError(
      'invalid-credentials',
      'this invitation is not valid, or not any more: ask for another one',
    );
  }

  /** Somebody without an account makes one. Answers who he is now. */
  async acceptAsNew(
    write: WriteRequest,
    token: string,
    details: Pick<PersonRecord, 'name' | 'passwordHash'>,
    alsoFor: (person: PersonRecord) => readonly RecordWrite[] = () => [],
  ): Promise<PersonRecord> {
    const { store, committer, now } = this.#core;
    const { email } = this.mustFind(token);
    const personId = newPersonId();
    const planned = { personId, email, ...details, isInstallationAdmin: false, createdAt: now() };
    const actor: Actor = { kind: 'person', credentialId: personId, name: details.name, personId };
    await committer.commit({ ...write, actor }, undefined, () => {
      const { person, records } = planPerson(store, planned);
      const change = this.#acceptance(this.mustFind(token), person);
      return { ...change, records: [...change.records, ...records, ...alsoFor(person)] };
    });
    return getPerson(store, personId);
  }

  /** Somebody who has an account joins with it, if it is the one that was invited. */
  accept(write: WriteRequest, token: string, personId: string): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const person = getPerson(store, personId);
      const invitation = this.mustFind(token);
      if (emailKeyOf(person.email) !== emailKeyOf(invitation.email)) {
        throw new PlatformError('forbidden', 'the invitation is for another email address than yours');
      }
      if (findMember(store, invitation.tenantId, personId) !== undefined) {
        throw new PlatformError('conflict', 'you belong to the tenant already');
      }
      return {
        ...this.#acceptance(invitation, person),
        relied: [{ key: keys.person(personId), read: person }],
      };
    });
  }

  #acceptance(invitation: InvitationRecord, person: PersonRecord): Change {
    const { store, now } = this.#core;
    const { tenantId, roles } = invitation;
    const tenant = getTenant(store, tenantId);
    if (tenant.archived) throw new PlatformError('conflict', 'the tenant is archived');
    const { personId } = person;
    const member: MemberRecord = { version: 1, tenantId, personId, roles, createdAt: now() };
    const view = { ...viewMember(store, member), name: person.name, email: person.email };
    return {
      ...changeOf(invitation, undefined),
      action: 'invitation.accept',
      summary: `“${person.name}” accepted the invitation of ${invitation.email}`,
      feedSummary: 'An invitation was accepted',
      after: view,
      records: [
        ...changeOf(invitation, undefined).records,
        { key: keys.member(tenantId, personId), read: undefined, value: member },
      ],
      relied: [{ key: keys.tenant(tenantId), read: tenant }],
      reply: () => ({ status: 201, body: { tenantId, tenantKey: tenant.key, name: tenant.name, roles: [...roles] } }),
    };
  }

  #expired(tenantId: TenantId): RecordWrite[] {
    const { store, now } = this.#core;
    return store
      .list<InvitationRecord>(keys.invitations(tenantId))
      .filter(({ value }) => value.expiresAt <= now())
      .slice(0, CLEARED_MAX)
      .map(({ key, value }) => ({ key, read: value, value: undefined }));
  }
}

function changeOf(
  before: InvitationRecord | undefined,
  after: InvitationRecord | undefined,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
  const invitation = after ?? before;
  if (invitation === undefined) throw new Error('a change has an invitation before or after it');
  const { tenantId, invitationId } = invitation;
  return {
    owner: tenantId,
    subject: `invitations/${invitationId}`,
    before: before === undefined ? undefined : viewInvitation(before),
    after: after === undefined ? undefined : viewInvitation(after),
    records: [{ key: keys.invitation(tenantId, invitationId), read: before, value: after }],
  };
}
