import { isDeepStrictEqual } from 'node:util';
import { PlatformError, type TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema, nameSchema, newTenantId } from '../admin-api/params.js';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { assertAuthorised, authorise } from '../admin-api/policy.js';
import { parseWith } from '../admin-api/problems.js';
import { tenantQuotasSchema } from '../admin-api/quota-schemas.js';
import { readAuditHead } from '../audit/audit-store.js';
import type { Change, EnvironmentChange, Reply, Versioned, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { listEnvironments, listEnvironmentsOfTenant, refOf } from '../environments/environment-read-model.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import { dataPlaneQuotasOf } from '../limits/tenant-quotas.js';
import { listProjects } from '../projects/project-read-model.js';
import { INSTALLATION, keys } from '../store/keys.js';
import { getTenant } from './tenant-read-model.js';
import type { TenantRecord } from './tenant-record.js';
import type { TenantRemovalRow } from './tenant-removals.js';
import { tenantWrite } from './tenant-store.js';
import { viewTenant } from './tenant-view.js';

export const createTenantBody = z.strictObject({ key: keySchema, name: nameSchema });
const tenantPatchSchema = z.strictObject({ name: nameSchema, quotas: tenantQuotasSchema.default({}) });

/** Rules of tenants: the border of isolation and billing. */
export class TenantService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, body: z.infer<typeof createTenantBody>): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const keyRow = keys.tenantKey(body.key);
      if (store.has(keyRow)) throw new PlatformError('conflict', `the tenant ${body.key} exists already`);
      const tenant: TenantRecord = { version: 1, tenantId: newTenantId(), ...body, archived: false, createdAt: now() };
      const change = changeOf(undefined, tenant);
      return {
        ...change,
        action: 'tenant.create',
        summary: `Created tenant ${tenant.key}`,
        // A record, not a row: two creations of one key at a time must not both pass.
        records: [
          ...change.records,
          { key: keyRow, read: undefined, value: { version: 1, tenantId: tenant.tenantId } },
        ],
        reply: () => ({ ...replyOf(tenant), status: 201, location: `/api/v1/tenants/${tenant.tenantId}` }),
      };
    });
  }

  update(write: WriteRequest, tenantId: TenantId, patch: Patch): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getTenant(store, tenantId);
      assertIfMatch(write, before);
      if (before.archived) throw new PlatformError('conflict', 'the tenant is archived');
      const { name, quotas: quotasBefore = {} } = before;
      const edited = parseWith(tenantPatchSchema, applyPatch({ name, quotas: quotasBefore }, patch));
      const quotas = edited.quotas;
      const after: TenantRecord = { ...before, name: edited.name, quotas, version: before.version + 1 };
      const isLimited = !isDeepStrictEqual(quotas, quotasBefore);
      const reachesNodes = !isDeepStrictEqual(dataPlaneQuotasOf(quotas), dataPlaneQuotasOf(quotasBefore));
      // What it may use is not for the tenant itself to say.
      if (isLimited) assertAuthorised(authorise(write.actor, 'tenant.limit', { tenantId, path: '', tags: [] }));
      return {
        ...changeOf(before, after),
        action: isLimited ? 'tenant.limit' : 'tenant.update',
        summary: isLimited ? `Set quotas of tenant ${before.key}` : `Renamed tenant ${before.key} to “${edited.name}”`,
        // Those of the data plane travel in the access lists.
        environments: reachesNodes ? this.#environmentsOf(tenantId) : [],
        reply: () => replyOf(after),
      };
    });
  }

  /** Takes the tenant out of sight in one transaction, then everything of it away. What stays is one entry in the installation's log. */
  async delete(write: WriteRequest, tenantId: TenantId, confirmedKey: string): Promise<Reply> {
    const { store, committer, releases, removals, treeHeads, now } = this.#core;
    const environments: EnvironmentRecord[] = [];
    const reply = await committer.commit(write, undefined, () => {
      const tenant = getTenant(store, tenantId);
      assertIfMatch(write, tenant);
      if (!tenant.archived) throw new PlatformError('conflict', 'archive the tenant before you delete it');
      if (confirmedKey !== tenant.key) {
        const issue = {
          pointer: '/confirm',
          code: 'validation-failed',
          detail: 'must be the key of the tenant',
        } as const;
        throw new PlatformError('validation-failed', issue.detail, { issues: [issue] });
      }
      environments.splice(0, environments.length, ...listEnvironmentsOfTenant(store, tenantId));
      const { sequence, hash } = readAuditHead(store, tenantId);
      const removal: TenantRemovalRow = { because: 'deletion', at: now() };
      const keyRow = keys.tenantKey(tenant.key);
      return {
        owner: INSTALLATION,
        action: 'tenant.delete',
        subject: `tenants/${tenant.key}`,
        summary: `Deleted tenant ${tenant.key} and everything of it`,
        before: viewTenant(tenant),
        after: undefined,
        details: { auditEntries: sequence, lastAuditHash: hash },
        records: [
          { key: keys.tenant(tenantId), read: tenant, value: undefined },
          { key: keyRow, read: store.find<Versioned>(keyRow), value: undefined },
        ],
        rows: [{ key: keys.tenantRemoval(tenantId), value: removal }],
        reply: () => ({ status: 204, body: undefined }),
      };
    });
    if (write.dryRun) return reply;
    for (const { environmentId } of environments) releases.delete(environmentId);
    treeHeads.forget(tenantId);
    await removals.remove(tenantId);
    return reply;
  }

  #environmentsOf(tenantId: TenantId): EnvironmentChange[] {
    const { store } = this.#core;
    return listProjects(store, tenantId).flatMap((project) =>
      listEnvironments(store, project).map((environment) => ({ environment: refOf(environment), access: true })),
    );
  }

  setArchived(write: WriteRequest, tenantId: TenantId, archived: boolean): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getTenant(store, tenantId);
      assertIfMatch(write, before);
      if (archived) {
        const issues = listProjects(store, tenantId)
          .filter((project) => !project.archived)
          .map(({ key }) => ({ pointer: `/projects/${key}`, code: 'in-use' as const, detail: 'archive it first' }));
        if (issues.length > 0) {
          throw new PlatformError('in-use', 'the tenant has projects that are not archived', { issues });
        }
      }
      const after: TenantRecord = { ...before, archived, version: before.version + 1 };
      return {
        ...changeOf(before, after),
        action: 'tenant.archive',
        summary: archived ? `Archived tenant ${before.key}` : `Took tenant ${before.key} out of the archive`,
        reply: () => replyOf(after),
      };
    });
  }
}

function changeOf(
  before: TenantRecord | undefined,
  after: TenantRecord,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
  return {
    owner: after.tenantId,
    subject: `tenants/${after.key}`,
    before: before === undefined ? undefined : viewTenant(before),
    after: viewTenant(after),
    records: [tenantWrite(before, after)],
  };
}

export function replyOf(tenant: TenantRecord): Reply {
  return { status: 200, body: viewTenant(tenant), etag: tenant.version };
}
