import { PlatformError, type TenantId } from '@guidon/protocol';
import { z } from 'zod';
import { keySchema, nameSchema, newEnvironmentId, timestampSchema } from '../admin-api/params.js';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, EnvironmentOutcome, Reply, WriteRequest } from '../commit/change.js';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { AccessStateRow } from '../commit/write-environment.js';
import type { ControlPlaneCore } from '../core.js';
import { listOpenCredentials } from '../credentials/credential-read-model.js';
import { getProject } from '../projects/project-read-model.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { type EnvironmentPath, getEnvironment, listEnvironments, refOf } from './environment-read-model.js';
import type { EnvironmentRecord } from './environment-record.js';
import { environmentWrite } from './environment-store.js';
import type { EnvironmentContentSource } from './new-environment-content.js';

export const ENVIRONMENTS_PER_PROJECT_MAX = 50;

const criticalSchema = z.boolean().describe('Only releasers, admins and owners may change what it serves');
export const createEnvironmentBody = z.strictObject({
  key: keySchema,
  name: nameSchema,
  critical: criticalSchema.default(false),
});
const environmentPatchSchema = z.strictObject({ name: nameSchema, critical: criticalSchema });

export const environmentSchema = z
  .object({
    id: z.string(),
    key: z.string(),
    name: z.string(),
    archived: z.boolean(),
    critical: criticalSchema,
    epoch: z.int(),
    revision: z.int().describe('Of what the environment serves; starts at 1'),
    accessSequence: z.int().describe('Of its list of SDK keys'),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Environment' });
export type EnvironmentView = z.infer<typeof environmentSchema>;

/** Rules of environments. Each starts with every flag of its project switched off, so that no evaluation finds a flag missing. */
export class EnvironmentService {
  readonly #core: ControlPlaneCore;
  readonly #contentSources: readonly EnvironmentContentSource[];

  constructor(core: ControlPlaneCore, contentSources: readonly EnvironmentContentSource[]) {
    this.#core = core;
    this.#contentSources = contentSources;
  }

  create(
    write: WriteRequest,
    tenantId: TenantId,
    projectKey: string,
    body: z.infer<typeof createEnvironmentBody>,
  ): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const { projectId } = getProject(store, tenantId, projectKey);
    return committer.commit(write, { projectId }, () => {
      const project = getProject(store, tenantId, projectKey);
      if (project.archived) throw new PlatformError('conflict', 'the project is archived');
      const existing = listEnvironments(store, project);
      if (existing.some(({ key }) => key === body.key)) {
        throw new PlatformError('conflict', `the environment ${body.key} exists already`);
      }
      if (existing.length >= ENVIRONMENTS_PER_PROJECT_MAX) {
        throw new PlatformError('limit-exceeded', `a project has at most ${ENVIRONMENTS_PER_PROJECT_MAX} environments`);
      }
      const environmentId = newEnvironmentId();
      const record: EnvironmentRecord = {
        version: 1,
        tenantId,
        projectId,
        environmentId,
        ...body,
        archived: false,
        createdAt: now(),
      };
      const content = this.#contentSources.map((source) => source(store, project, refOf(record)));
      const change = changeOf(projectKey, undefined, record);
      return {
        ...change,
        action: 'environment.create',
        summary: `Created environment ${body.key} in project ${projectKey}`,
        records: [...change.records, ...content.flatMap(({ records }) => records)],
        relied: [
          { key: keys.project(tenantId, projectKey), read: project },
          ...content.flatMap(({ relied }) => relied),
        ],
        environments: [
          {
            environment: refOf(record),
            definitions: content.flatMap(({ definitions }) => definitions),
            isNew: true,
          },
        ],
        reply: ({ environments: [outcome] }) => ({
          status: 201,
          body: viewEnvironment(record, outcome),
          etag: 1,
          location: `/api/v1/tenants/${tenantId}/projects/${projectKey}/environments/${body.key}`,
        }),
      };
    });
  }

  update(write: WriteRequest, path: EnvironmentPath, patch: Patch): Promise<Reply> {
    const { store, committer } = this.#core;
    return committer.commit(write, undefined, () => {
      const { environment: before } = getEnvironment(store, path);
      assertIfMatch(write, before);
      if (before.archived) throw new PlatformError('conflict', 'the environment is archived');
      const { name, critical = false } = before;
      const edited = parseWith(environmentPatchSchema, applyPatch({ name, critical }, patch));
      const after: EnvironmentRecord = { ...before, ...edited, version: before.version + 1 };
      return {
        ...changeOf(path.projectKey, before, after),
        action: 'environment.update',
        summary: describeEdit(path.environmentKey, before, after),
        reply: () => replyOf(store, after),
      };
    });
  }

  /** Its SDK keys have to be revoked before: archiving must not be how somebody's service goes dark. */
  setArchived(write: WriteRequest, path: EnvironmentPath, archived: boolean): Promise<Reply> {
    const { store, committer, now } = this.#core;
    const { projectId } = getProject(store, path.tenantId, path.projectKey);
    return committer.commit(write, { projectId }, () => {
      const { project, environment: before } = getEnvironment(store, path);
      assertIfMatch(write, before);
      if (project.archived) throw new PlatformError('conflict', 'the project is archived');
      if (archived) assertNoOpenCredential(store, path, before, now());
      const after: EnvironmentRecord = { ...before, archived, version: before.version + 1 };
      return {
        ...changeOf(path.projectKey, before, after),
        action: 'environment.archive',
        summary: archived
          ? `Archived environment ${path.environmentKey}`
          : `Took environment ${path.environmentKey} out of the archive`,
        relied: [{ key: keys.project(path.tenantId, path.projectKey), read: project }],
        reply: () => replyOf(store, after),
      };
    });
  }
}

function assertNoOpenCredential(
  store: StoreReader,
  { projectKey, environmentKey }: EnvironmentPath,
  environment: EnvironmentRecord,
  now: number,
): void {
  const open = listOpenCredentials(store, refOf(environment), now);
  if (open.length === 0) return;
  throw new PlatformError('in-use', `the environment ${environmentKey} has credentials that are not revoked`, {
    issues: open.map(({ credentialId }) => ({
      pointer: `/projects/${projectKey}/environments/${environmentKey}/credentials/${credentialId}`,
      code: 'in-use' as const,
      detail: 'revoke it first',
    })),
  });
}

function changeOf(
  projectKey: string,
  before: EnvironmentRecord | undefined,
  after: EnvironmentRecord,
): Pick<Change, 'owner' | 'subject' | 'before' | 'after' | 'records'> {
  return {
    owner: after.tenantId,
    subject: `projects/${projectKey}/environments/${after.key}`,
    before: before === undefined ? undefined : describe(before),
    after: describe(after),
    records: [environmentWrite(before, after)],
  };
}

const describe = ({ environmentId, key, name, archived, critical = false }: EnvironmentRecord) => ({
  id: environmentId,
  key,
  name,
  archived,
  critical,
});

function describeEdit(key: string, before: EnvironmentRecord, after: EnvironmentRecord): string {
  const edits = [
    ...(after.name === before.name ? [] : [`renamed to “${after.name}”`]),
    ...(after.critical === (before.critical ?? false) ? [] : [after.critical ? 'made critical' : 'no longer critical']),
  ];
  return `Environment ${key}: ${edits.length === 0 ? 'nothing changed' : edits.join(', ')}`;
}

type Standing = Pick<EnvironmentOutcome, 'epoch' | 'revision' | 'accessSequence'>;

function viewEnvironment(record: EnvironmentRecord, standing: Standing | undefined): EnvironmentView {
  const { epoch, revision, accessSequence } = standing ?? { epoch: 1, revision: 0, accessSequence: 0 };
  const { environmentId, key, name, archived, critical = false, createdAt, version } = record;
  return { id: environmentId, key, name, archived, critical, epoch, revision, accessSequence, createdAt, version };
}

export function viewStoredEnvironment(store: StoreReader, record: EnvironmentRecord): EnvironmentView {
  const state = store.find<EnvironmentStateRow>(keys.environmentState(record));
  const access = store.find<AccessStateRow>(keys.accessState(record));
  if (state === undefined || access === undefined) throw new Error('an environment without a first revision');
  return viewEnvironment(record, { ...state, accessSequence: access.sequence });
}

export function replyOf(store: StoreReader, record: EnvironmentRecord): Reply {
  return { status: 200, body: viewStoredEnvironment(store, record), etag: record.version };
}
