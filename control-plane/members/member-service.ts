import { isDeepStrictEqual } from 'node:util';
import type { TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema } from '../admin-api/params.js';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, RecordWrite, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import type { PlatformCredentialRecord } from '../credentials/stored-credential.js';
import { getPerson } from '../people/person-read-model.js';
import { personWrite, withoutSessions } from '../people/person-store.js';
import { assertMayTake } from '../roles/may-give.js';
import { assertGrantable } from '../roles/role-service.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { getMember, viewMember } from './member-read-model.js';
import type { MemberRecord } from './member-record.js';
import { mustHaveOtherOwner } from './owners.js';

const ROLES_MAX = 20;
export const memberRolesSchema = z.array(keySchema).min(1).max(ROLES_MAX);
const memberPatchSchema = z.strictObject({ roles: memberRolesSchema });

/** What a tenant does with the people who belong to it. */
export class MemberService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** Other roles end the person's sessions: no page goes on showing what he could do. */
  update(write: WriteRequest, tenantId: TenantId, personId: string, patch: Patch): Promise<Reply> {
    const { committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = this.#get(tenantId, personId);
      assertIfMatch(write, before);
      const { roles } = parseWith(memberPatchSchema, applyPatch({ roles: [...before.roles] }, patch));
      assertMayTake(write.actor, before.roles);
      assertGrantable(this.#core, write.actor, tenantId, roles);
      const after: MemberRecord = { ...before, roles, version: before.version + 1 };
      const change = this.#changeOf(before, after);
      const isOther = !isDeepStrictEqual(new Set(roles), new Set(before.roles));
      return {
        ...change,
        action: 'member.update',
        summary: `Gave ${this.#nameOf(personId)} the roles ${roles.join(', ')}`,
        feedSummary: `Gave a member the roles ${roles.join(', ')}`,
        records: [...change.records, ...(isOther ? [this.#endSessions(personId)] : [])],
        relied: roles.includes('owner') ? [] : this.#ownersWithout(write, before),
        reply: () => this.replyOf(after),
      };
    });
  }

  /** The person keeps his account, and loses his tokens of this tenant with his place in it. */
  remove(write: WriteRequest, tenantId: TenantId, personId: string): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = this.#get(tenantId, personId);
      assertIfMatch(write, before);
      assertMayTake(write.actor, before.roles);
      const change = this.#changeOf(before, undefined);
      const tokens = store
        .list<PlatformCredentialRecord>(keys.adminCredentials(tenantId))
        .map(({ value }) => value)
        .filter((token) => token.personId === personId && token.revokedAt === null);
      const revoked = tokens.map((token) => ({
        key: keys.adminCredential(tenantId, token.credentialId),
        read: token,
        value: { ...token, revokedAt: now(), version: token.version + 1 },
      }));
      return {
        ...change,
        action: 'member.remove',
        summary: `Removed ${this.#nameOf(personId)} from the tenant`,
        feedSummary: 'Removed a member from the tenant',
        records: [...change.records, ...revoked, this.#endSessions(personId)],
        relied: this.#ownersWithout(write, before),
        reply: () => ({ status: 204, body: undefined }),
      };
    });
  }

  replyOf(member: MemberRecord): Reply {
    return { status: 200, body: viewMember(this.#core.store, member), etag: member.version };
  }

  #get(tenantId: TenantId, personId: string): MemberRecord {
    getTenant(this.#core.store, tenantId);
    return getMember(this.#core.store, tenantId, personId);
  }

  #nameOf(personId: string): string {
    return `“${getPerson(this.#core.store, personId).name}”`;
  }

  #endSessions(personId: string): RecordWrite {
    const person = getPerson(this.#core.store, personId);
    return personWrite(person, withoutSessions(person));
  }

  #ownersWithout({ actor }: WriteRequest, { tenantId, personId, roles }: MemberRecord): NonNullable<Change['relied']> {
    if (!roles.includes('owner')) return [];
    return mustHaveOtherOwner(this.#core, actor, tenantId, keys.member(tenantId, personId));
  }

  #changeOf(
    before: MemberRecord,
    after: MemberRecord | undefined,
  ): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
    const { store } = this.#core;
    const { tenantId, personId } = before;
    return {
      owner: tenantId,
      subject: `members/${personId}`,
      before: viewMember(store, before),
      after: after === undefined ? undefined : viewMember(store, after),
      records: [{ key: keys.member(tenantId, personId), read: before, value: after }],
    };
  }
}
