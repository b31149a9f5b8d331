import { PlatformError } from '@guidon/protocol';
import { generateCredential, hashSecret } from '@guidon/protocol/signed-config';
import { z } from 'zod';
import { keySchema, nameSchema, timestampSchema } from '../admin-api/params.js';
import type { Action } from '../admin-api/policy.js';
import { notFound } from '../admin-api/problems.js';
import type { Change, RecordRead, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { findMember } from '../members/member-read-model.js';
import { isOwnerAccount, mustHaveOtherOwner } from '../members/owners.js';
import { assertMayTake } from '../roles/may-give.js';
import { assertGrantable, assertKnownRoles } from '../roles/role-service.js';
import type { StoreReader } from '../store/control-store.js';
import { INSTALLATION, type KeyRange, keys, type Scope, type StoreKey } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { isOpen } from './credential-read-model.js';
import type { CredentialOwnerRow, PlatformCredentialRecord } from './stored-credential.js';

export const PLATFORM_CREDENTIALS_MAX = 1_000;
/** Tokens of one person in one tenant. */
export const PERSONAL_TOKENS_MAX = 50;
const ROLES_MAX = 20;

export const createPlatformCredentialBody = z.strictObject({
  name: nameSchema,
  notAfter: timestampSchema.nullable().default(null),
});

/** Of a tenant's own `adm` credentials. */
export const createMemberCredentialBody = createPlatformCredentialBody.extend({
  roles: z.array(keySchema).min(1).max(ROLES_MAX).default(['owner']).describe('What whoever presents it may do'),
});

export const platformCredentialSchema = z
  .object({
    id: z.string(),
    kind: z.enum(['adm', 'node']),
    name: z.string(),
    roles: z
      .array(z.string())
      .describe('Of a tenant’s own. A person’s token may what its person and these may; none: what its person may'),
    personId: z.string().nullable().describe('Whose token it is; null: nobody’s, a service account'),
    notAfter: timestampSchema.nullable(),
    revokedAt: timestampSchema.nullable(),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'PlatformCredential' });
export type PlatformCredentialView = z.infer<typeof platformCredentialSchema>;

export const newPlatformCredentialSchema = platformCredentialSchema
  .extend({ token: z.string().describe('Shown this once'), trustRoot: z.string() })
  .meta({ id: 'NewPlatformCredential' });

type NewPlatformCredential = z.infer<typeof createPlatformCredentialBody> & {
  readonly roles?: readonly string[];
  readonly personId?: string;
};

const rolesOf = ({ roles = ['owner'] }: PlatformCredentialRecord): string[] => [...roles];

/** Whose credentials a service instance is about. */
export interface PlatformCredentialOwner {
  readonly kind: 'adm' | 'node';
  readonly scope: Scope;
  readonly actions: { readonly create: Action; readonly revoke: Action };
}

/** Rules of `adm` and `node` credentials: of the installation, or admins of one tenant. */
export class PlatformCredentialService {
  readonly #core: ControlPlaneCore;
  readonly #owner: PlatformCredentialOwner;

  constructor(core: ControlPlaneCore, owner: PlatformCredentialOwner) {
    this.#core = core;
    this.#owner = owner;
  }

  get range(): KeyRange {
    const { kind, scope } = this.#owner;
    return kind === 'node' ? keys.nodeCredentials() : keys.adminCredentials(scope);
  }

  view = (record: PlatformCredentialRecord): PlatformCredentialView => {
    const { credentialId, name, notAfter, revokedAt, createdAt, version } = record;
    const isMember = this.#owner.kind === 'adm' && this.#owner.scope !== INSTALLATION;
    const roles = isMember ? rolesOf(record) : [];
    const { personId = null } = record;
    return { id: credentialId, kind: this.#owner.kind, name, roles, personId, notAfter, revokedAt, createdAt, version };
  };

  create(write: WriteRequest, body: NewPlatformCredential): Promise<Reply> {
    const { committer, store } = this.#core;
    return committer.commit(write, undefined, () => {
      const { scope } = this.#owner;
      if (scope !== INSTALLATION) {
        if (getTenant(store, scope).archived) throw new PlatformError('conflict', 'the tenant is archived');
        const { roles = [] } = body;
        if (body.personId === undefined) assertGrantable(this.#core, write.actor, scope, roles);
        else assertKnownRoles(this.#core, scope, roles);
      }
      return this.planCreation(body).change;
    });
  }

  /** The plan alone, for a change that does more than this. */
  planCreation({ name, notAfter, roles, personId }: NewPlatformCredential): { change: Change; token: string } {
    const { kind, scope, actions } = this.#owner;
    this.#assertRoom(this.#core.store, personId);
    if (notAfter !== null && notAfter <= this.#core.now()) {
      const issue = { pointer: '/notAfter', code: 'validation-failed', detail: 'must lie in the future' } as const;
      throw new PlatformError('validation-failed', 'notAfter must lie in the future', { issues: [issue] });
    }
    const { credentialId, secret, token } = generateCredential(kind);
    const record: PlatformCredentialRecord = {
      version: 1,
      credentialId,
      name,
      secretHash: hashSecret(secret),
      notAfter,
      createdAt: this.#core.now(),
      revokedAt: null,
      ...(roles === undefined ? {} : { roles }),
      ...(personId === undefined ? {} : { personId }),
    };
    const ownerRow: CredentialOwnerRow = { kind, scope, environmentId: null };
    const change: Change = {
      ...this.#changeOf(undefined, record),
      action: actions.create,
      summary: `Created ${kind} credential “${name}”`,
      rows: [{ key: keys.credentialOwner(credentialId), value: ownerRow }],
      // What others create at the same moment counts.
      assertInside: (transaction) => this.#assertRoom(transaction, personId),
      reply: () => ({
        status: 201,
        body: { ...this.view(record), token, trustRoot: this.#core.signingKeys.trustRoot },
        etag: 1,
      }),
    };
    return { change, token };
  }

  revoke(write: WriteRequest, credentialId: string): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = store.find<PlatformCredentialRecord>(this.#keyOf(credentialId));
      if (before === undefined) throw notFound();
      assertIfMatch(write, before);
      if (before.revokedAt !== null) throw new PlatformError('conflict', 'the credential is revoked already');
      const relied = this.#owner.kind === 'adm' ? this.#othersWithout(write, before) : [];
      const after: PlatformCredentialRecord = { ...before, revokedAt: now(), version: before.version + 1 };
      return {
        ...this.#changeOf(before, after),
        action: this.#owner.actions.revoke,
        summary: `Revoked ${this.#owner.kind} credential “${before.name}”`,
        relied,
        reply: () => ({ status: 200, body: this.view(after), etag: after.version }),
      };
    });
  }

  /** Nobody takes from others what he could not have given, and neither a tenant nor the installation loses the last who can give rights. */
  #othersWithout({ actor }: WriteRequest, leaving: PlatformCredentialRecord): RecordRead[] {
    const { scope } = this.#owner;
    const { credentialId, personId } = leaving;
    if (scope === INSTALLATION) {
      // One that ends by itself makes no other one for long.
      const other = this.#listOpen().find((one) => one.credentialId !== credentialId && one.notAfter === null);
      if (other === undefined && leaving.notAfter === null) {
        throw new PlatformError('conflict', 'it is the last credential of an installation admin');
      }
      return other === undefined ? [] : [{ key: this.#keyOf(other.credentialId), read: other }];
    }
    const isOwn = actor.kind === 'member' && actor.personId !== undefined && actor.personId === personId;
    const ofPerson = personId === undefined ? undefined : (findMember(this.#core.store, scope, personId)?.roles ?? []);
    if (!isOwn) assertMayTake(actor, ofPerson ?? rolesOf(leaving));
    return isOwnerAccount(leaving) ? mustHaveOtherOwner(this.#core, actor, scope, this.#keyOf(credentialId)) : [];
  }

  #changeOf(
    before: PlatformCredentialRecord | undefined,
    after: PlatformCredentialRecord,
  ): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
    return {
      owner: this.#owner.scope,
      subject: `${this.#owner.kind}-credentials/${after.credentialId}`,
      before: before === undefined ? undefined : this.view(before),
      after: this.view(after),
      records: [{ key: this.#keyOf(after.credentialId), read: before, value: after }],
    };
  }

  #keyOf(credentialId: string): StoreKey {
    const { kind, scope } = this.#owner;
    return kind === 'node' ? keys.nodeCredential(credentialId) : keys.adminCredential(scope, credentialId);
  }

  /** Throws `limit-exceeded` when there is no room for one more, of `personId` if it is somebody's. */
  #assertRoom(store: StoreReader, personId: string | undefined): void {
    const records = store.list<PlatformCredentialRecord>(this.range).map(({ value }) => value);
    if (records.filter((record) => isOpen(record, this.#core.now())).length >= PLATFORM_CREDENTIALS_MAX) {
      throw new PlatformError('limit-exceeded', `there are at most ${PLATFORM_CREDENTIALS_MAX} of these credentials`);
    }
    if (personId === undefined) return;
    const own = records.filter((record) => record.personId === personId && record.revokedAt === null);
    if (own.length >= PERSONAL_TOKENS_MAX) {
      throw new PlatformError('limit-exceeded', `a person has at most ${PERSONAL_TOKENS_MAX} tokens of a tenant`);
    }
  }

  #listOpen(): PlatformCredentialRecord[] {
    const { store, now } = this.#core;
    return store
      .list<PlatformCredentialRecord>(this.range)
      .map(({ value }) => value)
      .filter((record) => isOpen(record, now()));
  }
}
