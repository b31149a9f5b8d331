import { PlatformError } from '@guidon/protocol';
import { generateCredential, hashSecret } from '@guidon/protocol/signed-config';
import type { z } from 'zod';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, ChangeScope, RecordWrite, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  type FoundEnvironment,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { keys } from '../store/keys.js';
import { getCredential, isOpen, listOpenCredentials } from './credential-read-model.js';
import type { CredentialRecord } from './credential-record.js';
import {
  type createCredentialBody,
  type rotateCredentialBody,
  srvPatchSchema,
  viewCredential,
  webPatchSchema,
} from './credential-schemas.js';
import { credentialOwnerRow, credentialWrite } from './credential-store.js';

/** What fits into one access list with room to spare. */
export const CREDENTIALS_PER_ENVIRONMENT_MAX = 500;

/** Rules of SDK keys. Every change signs a new access list, so nodes learn it like config. */
export class CredentialService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, path: EnvironmentPath, body: z.infer<typeof createCredentialBody>): Promise<Reply> {
    return this.#core.committer.commit(write, this.#scopeOf(path), () => {
      const found = getOpenEnvironment(this.#core.store, path);
      const { record, token } = this.#make({
        kind: body.kind,
        name: body.name,
        permissions: body.kind === 'srv' ? body.permissions : [],
        allowedOrigins: body.kind === 'web' ? body.allowedOrigins : [],
        notAfter: body.notAfter,
        quotas: body.quotas,
      });
      this.#assertRoom(found);
      this.#assertFuture(body.notAfter);
      return {
        ...changeOf(path, found, undefined, record),
        action: 'credential.create',
        summary: `Created ${record.kind} key “${record.name}” for environment ${path.environmentKey}`,
        reply: () => this.#replyWithToken(path, record, token),
      };
    });
  }

  update(write: WriteRequest, path: EnvironmentPath, credentialId: string, patch: Patch): Promise<Reply> {
    return this.#core.committer.commit(write, this.#scopeOf(path), () => {
      const { found, before } = this.#openCredential(write, path, credentialId);
      const { kind, name, permissions, allowedOrigins, notAfter, quotas = {} } = before;
      const edited =
        kind === 'srv'
          ? parseWith(srvPatchSchema, applyPatch({ name, permissions, notAfter, quotas }, patch))
          : parseWith(webPatchSchema, applyPatch({ name, allowedOrigins, notAfter, quotas }, patch));
      if (edited.notAfter !== notAfter) this.#assertFuture(edited.notAfter);
      const after: CredentialRecord = {
        ...before,
        ...edited,
        version: before.version + 1,
      };
      return {
        ...changeOf(path, found, before, after),
        action: 'credential.update',
        summary: `Edited ${kind} key “${name}” of environment ${path.environmentKey}`,
        reply: () => replyOf(after),
      };
    });
  }

  revoke(write: WriteRequest, path: EnvironmentPath, credentialId: string): Promise<Reply> {
    return this.#core.committer.commit(write, this.#scopeOf(path), () => {
      const { found, before } = this.#credential(write, path, credentialId);
      if (before.revokedAt !== null) throw new PlatformError('conflict', 'the key is revoked already');
      const after: CredentialRecord = { ...before, revokedAt: this.#core.now(), version: before.version + 1 };
      return {
        ...changeOf(path, found, before, after),
        action: 'credential.revoke',
        summary: `Revoked ${before.kind} key “${before.name}” of environment ${path.environmentKey}`,
        reply: () => replyOf(after),
      };
    });
  }

  /** A new key with the same rights; the old one ends with the overlap. */
  rotate(
    write: WriteRequest,
    path: EnvironmentPath,
    credentialId: string,
    { overlapSeconds }: z.infer<typeof rotateCredentialBody>,
  ): Promise<Reply> {
    return this.#core.committer.commit(write, this.#scopeOf(path), () => {
      const { found, before } = this.#openCredential(write, path, credentialId);
      if (before.replacedBy !== null) throw new PlatformError('conflict', 'the key has been replaced already');
      this.#assertRoom(found);
      const { kind, name, permissions, allowedOrigins, notAfter, quotas = {} } = before;
      const { record, token } = this.#make({ kind, name, permissions, allowedOrigins, notAfter, quotas });
      const overlapEnd = this.#core.now() + overlapSeconds * 1_000;
      const old: CredentialRecord = {
        ...before,
        notAfter: Math.min(notAfter ?? Number.POSITIVE_INFINITY, overlapEnd),
        replacedBy: record.credentialId,
        version: before.version + 1,
      };
      const change = changeOf(path, found, undefined, record);
      return {
        ...change,
        before: viewCredential(before),
        records: [...change.records, credentialWrite(refOf(found.environment), before, old)],
        action: 'credential.rotate',
        summary: `Replaced ${kind} key “${name}” of environment ${path.environmentKey}`,
        reply: () => this.#replyWithToken(path, record, token),
      };
    });
  }

  #scopeOf(path: EnvironmentPath): ChangeScope {
    const { environment } = getEnvironment(this.#core.store, path);
    return { projectId: environment.projectId, environmentId: environment.environmentId };
  }

  #credential(
    write: WriteRequest,
    path: EnvironmentPath,
    credentialId: string,
  ): { found: FoundEnvironment; before: CredentialRecord } {
    const found = getEnvironment(this.#core.store, path);
    const before = getCredential(this.#core.store, refOf(found.environment), credentialId);
    assertIfMatch(write, before);
    return { found, before };
  }

  #openCredential(
    write: WriteRequest,
    path: EnvironmentPath,
    credentialId: string,
  ): { found: FoundEnvironment; before: CredentialRecord } {
    getOpenEnvironment(this.#core.store, path);
    const { found, before } = this.#credential(write, path, credentialId);
    if (!isOpen(before, this.#core.now())) throw new PlatformError('conflict', 'the key is revoked or has expired');
    return { found, before };
  }

  #make(rights: Pick<CredentialRecord, 'kind' | 'name' | 'permissions' | 'allowedOrigins' | 'notAfter' | 'quotas'>): {
    record: CredentialRecord;
    token: string;
  } {
    const { credentialId, secret, token } = generateCredential(rights.kind);
    const record: CredentialRecord = {
      version: 1,
      credentialId,
      ...rights,
      secretHash: hashSecret(secret),
      createdAt: this.#core.now(),
      revokedAt: null,
      replacedBy: null,
    };
    return { record, token };
  }

  #assertRoom({ environment }: FoundEnvironment): void {
    const open = listOpenCredentials(this.#core.store, refOf(environment), this.#core.now());
    if (open.length < CREDENTIALS_PER_ENVIRONMENT_MAX) return;
    throw new PlatformError('limit-exceeded', `an environment has at most ${CREDENTIALS_PER_ENVIRONMENT_MAX} keys`);
  }

  #assertFuture(notAfter: number | null): void {
    if (notAfter === null || notAfter > this.#core.now()) return;
    const detail = 'must lie in the future';
    throw new PlatformError('validation-failed', `notAfter ${detail}`, {
      issues: [{ pointer: '/notAfter', code: 'validation-failed', detail }],
    });
  }

  #replyWithToken(path: EnvironmentPath, record: CredentialRecord, token: string): Reply {
    const { tenantId, projectKey, environmentKey } = path;
    return {
      status: 201,
      body: { ...viewCredential(record), token, trustRoot: this.#core.signingKeys.trustRoot },
      etag: record.version,
      location: `/api/v1/tenants/${tenantId}/projects/${projectKey}/environments/${environmentKey}/credentials/${record.credentialId}`,
    };
  }
}

function changeOf(
  path: EnvironmentPath,
  { project, environment }: FoundEnvironment,
  before: CredentialRecord | undefined,
  after: CredentialRecord,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records' | 'relied' | 'rows' | 'environments'> {
  const ref = refOf(environment);
  const records: RecordWrite[] = [credentialWrite(ref, before, after)];
  return {
    owner: path.tenantId,
    subject: `projects/${path.projectKey}/environments/${path.environmentKey}/credentials/${after.credentialId}`,
    before: before === undefined ? undefined : viewCredential(before),
    after: viewCredential(after),
    records,
    relied: [
      { key: keys.project(path.tenantId, path.projectKey), read: project },
      { key: keys.environment(path.tenantId, project.projectId, path.environmentKey), read: environment },
    ],
    rows: before === undefined ? [credentialOwnerRow(ref, after)] : [],
    environments: [{ environment: ref, access: true }],
  };
}

export function replyOf(credential: CredentialRecord): Reply {
  return { status: 200, body: viewCredential(credential), etag: credential.version };
}
