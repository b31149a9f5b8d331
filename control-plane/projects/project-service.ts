import { PlatformError, type TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { descriptionSchema, keySchema, nameSchema, newProjectId } from '../admin-api/params.js';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { listEnvironments } from '../environments/environment-read-model.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { getProject } from './project-read-model.js';
import type { ProjectRecord } from './project-record.js';
import { projectWrite } from './project-store.js';
import { viewProject } from './project-view.js';

export const createProjectBody = z.strictObject({
  key: keySchema,
  name: nameSchema,
  description: descriptionSchema.default(''),
});

/** What a PATCH may change; the patched document has to be exactly this. */
export const projectPatchSchema = z.strictObject({ name: nameSchema, description: descriptionSchema });

/** Rules of projects. Every write is one plan given to the committer; a plan has no effect of its own. */
export class ProjectService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, tenantId: TenantId, body: z.infer<typeof createProjectBody>): Promise<Reply> {
    const { store, committer, now } = this.#core;
    return committer.commit(write, undefined, () => {
      const tenant = getTenant(store, tenantId);
      if (tenant.archived) throw new PlatformError('conflict', 'the tenant is archived');
      if (store.has(keys.project(tenantId, body.key))) {
        throw new PlatformError('conflict', `the project ${body.key} exists already`);
      }
      const project: ProjectRecord = {
        version: 1,
        tenantId,
        projectId: newProjectId(),
        ...body,
        archived: false,
        createdAt: now(),
      };
      return {
        ...changeOf(undefined, project),
        action: 'project.create',
        summary: `Created project ${project.key}`,
        relied: [{ key: keys.tenant(tenantId), read: tenant }],
        reply: () => ({ ...replyOf(project), status: 201, location: pathOf(project) }),
      };
    });
  }

  update(write: WriteRequest, tenantId: TenantId, projectKey: string, patch: Patch): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const before = getProject(store, tenantId, projectKey);
      assertIfMatch(write, before);
      if (before.archived) throw new PlatformError('conflict', 'the project is archived');
      const { name, description } = before;
      const edited = parseWith(projectPatchSchema, applyPatch({ name, description }, patch));
      const after: ProjectRecord = { ...before, ...edited, version: before.version + 1 };
      return {
        ...changeOf(before, after),
        action: 'project.update',
        summary: `Edited project ${projectKey}`,
        reply: () => replyOf(after),
      };
    });
  }

  /** `archived: true` is refused while an environment is not archived; see `environments`. */
  setArchived(write: WriteRequest, tenantId: TenantId, projectKey: string, archived: boolean): Promise<Reply> {
    const { store, committer } = this.#core;
    const { projectId } = getProject(store, tenantId, projectKey);
    return committer.commit(write, { projectId }, () => {
      const before = getProject(store, tenantId, projectKey);
      assertIfMatch(write, before);
      if (archived) assertUnused(before, listEnvironments(store, before));
      const after: ProjectRecord = { ...before, archived, version: before.version + 1 };
      return {
        ...changeOf(before, after),
        action: 'project.archive',
        summary: archived ? `Archived project ${projectKey}` : `Took project ${projectKey} out of the archive`,
        reply: () => replyOf(after),
      };
    });
  }
}

function assertUnused(project: ProjectRecord, environments: readonly { key: string; archived: boolean }[]): void {
  const open = environments.filter(({ archived }) => !archived);
  if (open.length === 0) return;
  throw new PlatformError('in-use', `the project ${project.key} has environments that are not archived`, {
    issues: open.map(({ key }) => ({
      pointer: `/projects/${project.key}/environments/${key}`,
      code: 'in-use' as const,
      detail: 'archive it first',
    })),
  });
}

/** The parts of a change that are the same for every change of a project. */
function changeOf(
  before: ProjectRecord | undefined,
  after: ProjectRecord,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
  return {
    owner: after.tenantId,
    subject: `projects/${after.key}`,
    before: before === undefined ? undefined : viewProject(before),
    after: viewProject(after),
    records: [projectWrite(before, after)],
  };
}

export function replyOf(project: ProjectRecord): Reply {
  return { status: 200, body: viewProject(project), etag: project.version };
}

const pathOf = ({ tenantId, key }: ProjectRecord): string => `/api/v1/tenants/${tenantId}/projects/${key}`;
