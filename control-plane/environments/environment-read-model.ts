import { type EnvironmentRef, PlatformError, type TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import { getProject } from '../projects/project-read-model.js';
import type { ProjectRecord } from '../projects/project-record.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { EnvironmentRecord } from './environment-record.js';

/** Path parts of one environment. */
export interface EnvironmentPath {
  readonly tenantId: TenantId;
  readonly projectKey: string;
  readonly environmentKey: string;
}

export interface FoundEnvironment {
  readonly project: ProjectRecord;
  readonly environment: EnvironmentRecord;
}

export function findEnvironment(
  store: StoreReader,
  { tenantId, projectId }: ProjectRecord,
  environmentKey: string,
): EnvironmentRecord | undefined {
  return store.find<EnvironmentRecord>(keys.environment(tenantId, projectId, environmentKey));
}

export function getEnvironment(store: StoreReader, path: EnvironmentPath): FoundEnvironment {
  const project = getProject(store, path.tenantId, path.projectKey);
  const environment = findEnvironment(store, project, path.environmentKey);
  if (environment === undefined) throw notFound();
  return { project, environment };
}

/** The same, and 409 when it or its project is archived: archived things are read, not changed. */
export function getOpenEnvironment(store: StoreReader, path: EnvironmentPath): FoundEnvironment {
  const found = getEnvironment(store, path);
  if (found.project.archived) throw new PlatformError('conflict', 'the project is archived');
  if (found.environment.archived) throw new PlatformError('conflict', 'the environment is archived');
  return found;
}

/** Every environment of a project, archived ones too: those keep their flags' targeting, so they can come back. */
export function listEnvironments(store: StoreReader, project: ProjectRecord): EnvironmentRecord[] {
  return store
    .list<EnvironmentRecord>(keys.environments(project.tenantId, project.projectId))
    .map(({ value }) => value);
}

export function listEnvironmentsOfTenant(store: StoreReader, tenantId: TenantId): EnvironmentRecord[] {
  return store.list<EnvironmentRecord>(keys.environmentsOfTenant(tenantId)).map(({ value }) => value);
}

export function refOf({ tenantId, projectId, environmentId }: EnvironmentRef): EnvironmentRef {
  return { tenantId, projectId, environmentId };
}
