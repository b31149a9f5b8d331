import { randomBytes } from 'node:crypto';
import { isId, PlatformError, parseTenantId, type TenantId } from '@guidon/protocol';
import { hashSecret, isSecretOf } from '@guidon/protocol/signed-config';
import { ulid } from 'ulid';
import type { z } from 'zod';
import { assertAuthorised, authorise } from '../admin-api/policy.js';
import { notFound } from '../admin-api/problems.js';
import type { ResourceReader } from '../admin-api/resource-reader.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { findEnvironment, refOf } from '../environments/environment-read-model.js';
import { findFlag } from '../flags/flag-store.js';
import { getProject } from '../projects/project-read-model.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { type createTriggerBody, type TriggerRecord, viewTrigger } from './trigger-record.js';

const DUMMY_HASH = hashSecret('no trigger has this secret');

export function getTrigger(store: StoreReader, tenantId: TenantId, triggerId: string): TriggerRecord {
  const trigger = store.find<TriggerRecord>(keys.trigger(tenantId, triggerId));
  if (trigger === undefined) throw notFound();
  return trigger;
}

/** The trigger of `<tenant>.<trigger>.<secret>`; undefined for every reason alike. */
export function findTriggerOf(store: StoreReader, token: string): TriggerRecord | undefined {
  const [tenantId, triggerId, secret = '', ...rest] = token.split('.');
  const isWhole = isId(tenantId) && isId(triggerId) && rest.length === 0;
  const trigger = isWhole ? store.find<TriggerRecord>(keys.trigger(parseTenantId(tenantId), triggerId)) : undefined;
  return isSecretOf(secret, trigger?.secretHash ?? DUMMY_HASH) ? trigger : undefined;
}

/** Rules of triggers: nobody makes one that does what he may not do himself. */
export class TriggerService {
  readonly #core: ControlPlaneCore;
  readonly #resources: ResourceReader;

  constructor(core: ControlPlaneCore, resources: ResourceReader) {
    this.#core = core;
    this.#resources = resources;
  }

  create(write: WriteRequest, tenantId: TenantId, body: z.infer<typeof createTriggerBody>): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const { project: projectKey, environment: environmentKey, flag: flagKey, name, effect } = body;
    const triggerId = `trg_${ulid()}`;
    const secret = randomBytes(32).toString('base64url');
    return committer.commit(write, undefined, () => {
      const tenant = getTenant(store, tenantId);
      const project = getProject(store, tenantId, projectKey);
      const environment = findEnvironment(store, project, environmentKey);
      const flag = findFlag(store, tenantId, project.projectId, flagKey);
      if (environment === undefined) throw missing('/environment', `the project has no environment ${environmentKey}`);
      if (flag === undefined) throw missing('/flag', `the project has no flag ${flagKey}`);
      const resource = this.#resources.resourceOf({ tenantId, projectKey, environmentKey, flagKey });
      if (effect === 'mark-unhealthy') assertAuthorised(authorise(write.actor, 'flag.mark-health', resource));
      else {
        assertAuthorised(authorise(write.actor, 'targeting.update', resource));
        const served = this.#resources.resourceOfEnvironment(refOf(environment));
        assertAuthorised(authorise(write.actor, 'environment.serve', served));
      }
      const trigger: TriggerRecord = {
        version: 1,
        triggerId,
        tenantId,
        name,
        projectKey,
        environmentKey,
        flagKey,
        effect,
        secretHash: hashSecret(secret),
        createdAt: now(),
      };
      return {
        owner: tenantId,
        action: 'trigger.create',
        subject: `triggers/${triggerId}`,
        summary: `Created trigger ${name}, which will ${effect} flag ${flagKey} in ${environmentKey}`,
        before: undefined,
        after: viewTrigger(trigger),
        records: [{ key: keys.trigger(tenantId, triggerId), read: undefined, value: trigger }],
        relied: [
          { key: keys.tenant(tenantId), read: tenant },
          { key: keys.project(tenantId, projectKey), read: project },
          { key: keys.environment(tenantId, project.projectId, environmentKey), read: environment },
          { key: keys.flag(tenantId, project.projectId, flagKey), read: flag },
        ],
        reply: () => ({
          status: 201,
          body: { ...viewTrigger(trigger), path: `/api/v1/triggers/${tenantId}.${triggerId}.${secret}` },
          etag: 1,
          location: `/api/v1/tenants/${tenantId}/triggers/${triggerId}`,
        }),
      };
    });
  }

  delete(write: WriteRequest, tenantId: TenantId, triggerId: string): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getTrigger(store, tenantId, triggerId);
      assertIfMatch(write, before);
      return {
        owner: tenantId,
        action: 'trigger.delete',
        subject: `triggers/${triggerId}`,
        summary: `Deleted trigger ${before.name}`,
        before: viewTrigger(before),
        after: undefined,
        records: [{ key: keys.trigger(tenantId, triggerId), read: before, value: undefined }],
        rows: [{ key: keys.triggerState(tenantId, triggerId), value: undefined }],
        reply: () => ({ status: 204, body: undefined }),
      };
    });
  }
}

function missing(pointer: string, detail: string): PlatformError {
  return new PlatformError('dangling-reference', detail, {
    issues: [{ pointer, code: 'dangling-reference', detail }],
  });
}
