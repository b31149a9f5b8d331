import type { TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { ProjectRecord } from './project-record.js';

/** Answers for other folders. `get…` throws the common 404. */
export function getProject(store: StoreReader, tenantId: TenantId, projectKey: string): ProjectRecord {
  const project = store.find<ProjectRecord>(keys.project(tenantId, projectKey));
  if (project === undefined) throw notFound();
  return project;
}

export function listProjects(store: StoreReader, tenantId: TenantId): ProjectRecord[] {
  return store.list<ProjectRecord>(keys.projects(tenantId)).map(({ value }) => value);
}
