import type { IncomingHttpHeaders } from 'node:http';
import { PlatformError, parseTenantId, type TenantId } from '@guidon/protocol';
import {
  type Credential,
  findCredential,
  generateCredential,
  hashSecret,
  isSecretOf,
} from '@guidon/protocol/signed-config';
import type { CredentialRecord } from '../credentials/credential-record.js';
import type { CredentialOwnerRow, PlatformCredentialRecord } from '../credentials/stored-credential.js';
import { findMember } from '../members/member-read-model.js';
import { findPerson } from '../people/person-read-model.js';
import { resolveRoles } from '../roles/role-read-model.js';
import type { SessionDirectory } from '../sessions/session-directory.js';
import type { ControlStore } from '../store/control-store.js';
import { INSTALLATION, keys } from '../store/keys.js';
import { type Actor, SYSTEM_ACTOR } from './actor.js';

/** Compared with when there is no row, so that an unknown id costs what a known one costs. */
const DUMMY_HASH = hashSecret('no credential has this secret');
const SYSTEM_CREDENTIALS_MAX = 16;

export interface Authenticated {
  readonly actor: Actor;
  /** Key material for sealed replies; never logged, never stored. */
  readonly secret: string;
  /** It was a cookie and no token. */
  readonly isSession: boolean;
}

/** Turns a presented token into an actor. The five ways to fail give one and the same answer. */
export class Authenticator {
  readonly #store: ControlStore;
  readonly #sessions: SessionDirectory;
  readonly #now: () => number;
  /** Secret hashes of credentials that live as long as the process, by id. */
  readonly #system = new Map<string, string>();

  constructor(store: ControlStore, sessions: SessionDirectory, now: () => number) {
    this.#store = store;
    this.#sessions = sessions;
    this.#now = now;
  }

  /** A credential of the platform itself, never written anywhere: for the process that started it. */
  createSystemCredential(): string {
    if (this.#system.size >= SYSTEM_CREDENTIALS_MAX) throw new Error('too many system credentials');
    const { token, credentialId, secret } = generateCredential('adm');
    this.#system.set(credentialId, hashSecret(secret));
    return token;
  }

  /** `tenantId`: of the path. It decides nothing but which of a person's memberships the request is about. */
  authenticate(
    headers: IncomingHttpHeaders,
    { cookie, tenantId }: { cookie: string | undefined; tenantId: TenantId | undefined },
  ): Authenticated {
    const token = presentedToken(headers);
    // Whoever sends a token means it: no cookie is looked at.
    if (token === undefined && headers.authorization === undefined && cookie !== undefined) {
      return this.#authenticateSession(cookie, tenantId);
    }
    const credential = token === undefined ? undefined : findCredential(token);
    // A wrong check sum is answered before any read of the store.
    if (credential === undefined) throw refusal();
    const found = this.#find(credential);
    const isRight = isSecretOf(credential.secret, found?.secretHash ?? DUMMY_HASH);
    if (!isRight || found === undefined) throw refusal();
    if (found.isRevoked || (found.notAfter !== null && found.notAfter <= this.#now())) throw refusal();
    return { actor: found.actor, secret: credential.secret, isSession: false };
  }

  /** What a person's token may follows what he may: it is read with every request. */
  #personalActor(
    tenantId: TenantId,
    personId: string,
    { credentialId, roles = [] }: PlatformCredentialRecord,
  ): Actor | undefined {
    const person = findPerson(this.#store, personId);
    const member = findMember(this.#store, tenantId, personId);
    if (person === undefined || person.disabledAt !== null || member === undefined) return undefined;
    return {
      kind: 'member',
      credentialId,
      name: person.name,
      personId,
      tenantId,
      roles: resolveRoles(this.#store, tenantId, member.roles),
      ...(roles.length === 0 ? {} : { narrowedTo: resolveRoles(this.#store, tenantId, roles) }),
    };
  }

  #authenticateSession(cookie: string, tenantId: TenantId | undefined): Authenticated {
    const found = this.#sessions.find(cookie);
    if (found === undefined) throw refusal();
    const { person, session, secret } = found;
    const { personId, name, isInstallationAdmin } = person;
    const { sessionId } = session;
    const own = { credentialId: sessionId, name, personId, sessionId };
    const member = tenantId === undefined ? undefined : findMember(this.#store, tenantId, personId);
    const actor: Actor = isInstallationAdmin
      ? { kind: 'installation-admin', ...own }
      : member === undefined
        ? { kind: 'person', ...own }
        : {
            kind: 'member',
            ...own,
            tenantId: member.tenantId,
            roles: resolveRoles(this.#store, member.tenantId, member.roles),
          };
    return { actor, secret, isSession: true };
  }

  #find(credential: Credential): Found | undefined {
    const { credentialId, kind } = credential;
    const systemHash = this.#system.get(credentialId);
    if (systemHash !== undefined) {
      return {
        secretHash: systemHash,
        isRevoked: false,
        notAfter: null,
        actor: { kind: 'system', credentialId, name: SYSTEM_ACTOR.name },
      };
    }
    const owner = this.#store.find<CredentialOwnerRow>(keys.credentialOwner(credentialId));
    if (owner === undefined || owner.kind !== kind) return undefined;
    // Of a tenant that is being removed, some credentials are still there.
    if (owner.scope !== INSTALLATION && !this.#store.has(keys.tenant(owner.scope))) return undefined;
    if (kind === 'srv' || kind === 'web') return this.#findSdkCredential(owner, credentialId);
    const record = this.#store.find<PlatformCredentialRecord>(
      kind === 'node' ? keys.nodeCredential(credentialId) : keys.adminCredential(owner.scope, credentialId),
    );
    if (record === undefined) return undefined;
    const { name, secretHash, notAfter, personId } = record;
    if (personId !== undefined && owner.scope !== INSTALLATION) {
      const actor = this.#personalActor(owner.scope, personId, record);
      return actor && { secretHash, notAfter, isRevoked: record.revokedAt !== null, actor };
    }
    const actor: Actor =
      kind === 'node'
        ? { kind: 'node', credentialId, name }
        : owner.scope === INSTALLATION
          ? { kind: 'installation-admin', credentialId, name }
          : {
              kind: 'member',
              credentialId,
              name,
              tenantId: owner.scope,
              roles: resolveRoles(this.#store, owner.scope, record.roles ?? ['owner']),
            };
    return { secretHash, notAfter, isRevoked: record.revokedAt !== null, actor };
  }

  #findSdkCredential({ scope, environmentId }: CredentialOwnerRow, credentialId: string): Found | undefined {
    if (scope === INSTALLATION || environmentId === null) return undefined;
    const tenantId = parseTenantId(scope);
    const key = keys.credential({ tenantId, environmentId: environmentId as never }, credentialId);
    const record = this.#store.find<CredentialRecord>(key);
    if (record === undefined) return undefined;
    const { name, secretHash, notAfter, revokedAt } = record;
    return {
      secretHash,
      notAfter,
      isRevoked: revokedAt !== null,
      actor: { kind: 'sdk', credentialId, name, tenantId },
    };
  }
}

interface Found {
  readonly secretHash: string;
  readonly isRevoked: boolean;
  readonly notAfter: number | null;
  readonly actor: Actor;
}

function presentedToken(headers: IncomingHttpHeaders): string | undefined {
  const { authorization, 'x-api-key': apiKey } = headers;
  if (authorization !== undefined && apiKey !== undefined) {
    throw new PlatformError('malformed-request', 'send Authorization or X-API-Key, not both');
  }
  if (authorization === undefined) return typeof apiKey === 'string' ? apiKey : undefined;
  return /^Bearer +(\S+)$/i.exec(authorization)?.[1];
}

function refusal(): PlatformError {
  return new PlatformError('invalid-credentials', 'send a valid credential as Authorization: Bearer or X-API-Key');
}
