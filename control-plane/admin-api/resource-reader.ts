import { type EnvironmentRef, isId, parseTenantId } from '@guidon/protocol';
import { findEnvironment, listEnvironments } from '../environments/environment-read-model.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import type { FlagRecord } from '../flags/flag-record.js';
import { listProjects } from '../projects/project-read-model.js';
import type { ProjectRecord } from '../projects/project-record.js';
import { CRITICAL_TAG } from '../roles/built-in-roles.js';
import { resourcePathOf } from '../roles/resource-path.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { Resource } from './policy.js';

const PLACES_MAX = 10_000;

/** What policies need to know of the things that a request names: where they stand, and their tags. */
export class ResourceReader {
  readonly #store: StoreReader;
  /** Where environments were found last, by id: checked whenever it is used, so nobody has to keep it right. Emptied when it is full. */
  readonly #places = new Map<string, { readonly projectKey: string; readonly environmentKey: string }>();

  constructor(store: StoreReader) {
    this.#store = store;
  }

  /** Of the parameters of a route, all of which may name things that are not there: then they have no tags. */
  resourceOf(params: unknown): Resource {
    const { tenantId, environmentId, ...rest } = params as Readonly<Record<string, string>>;
    // What nodes read is no tenant's; a revision is.
    if (environmentId !== undefined && tenantId === undefined && 'revision' in rest)
      return this.#resourceOfId(environmentId);
    const path = resourcePathOf(rest);
    if (tenantId === undefined) return { tenantId, path, tags: [] };
    return { tenantId, path, tags: this.#tagsOf(tenantId, rest) };
  }

  /** Whose a request is about: that of the path, or of the environment that it names by its id. Text, for nobody has looked at it yet. */
  tenantOf(params: unknown): string | undefined {
    const { tenantId, environmentId } = params as Readonly<Record<string, string>>;
    if (tenantId !== undefined || !isId(environmentId)) return tenantId;
    return this.#store.find<EnvironmentRef>(keys.environmentOwner(environmentId))?.tenantId;
  }

  /** False only for what names a tenant that is not there, or no longer. */
  hasTenantOf(params: unknown): boolean {
    const { tenantId } = params as Readonly<Record<string, string>>;
    return tenantId === undefined || this.#store.has(keys.tenant(parseTenantId(tenantId)));
  }

  /** One that is not there is nobody's: like that of another tenant. */
  #resourceOfId(environmentId: string): Resource {
    const environment = this.#store.find<EnvironmentRef>(keys.environmentOwner(environmentId));
    return environment === undefined
      ? { tenantId: '', path: resourcePathOf({}), tags: [] }
      : this.resourceOfEnvironment(environment);
  }

  /** An environment as the edits that reach it name it. */
  resourceOfEnvironment(environment: EnvironmentRef): Resource {
    const { project, record } = this.#findKnown(environment) ?? this.#search(environment);
    const path = resourcePathOf({ projectKey: project.key, environmentKey: record.key });
    return { tenantId: environment.tenantId, path, tags: tagsOfEnvironment(record) };
  }

  #findKnown({ tenantId, projectId, environmentId }: EnvironmentRef): FoundRecords | undefined {
    const place = this.#places.get(environmentId);
    const project = place && this.#store.find<ProjectRecord>(keys.project(tenantId, place.projectKey));
    if (place === undefined || project?.projectId !== projectId) return undefined;
    const record = findEnvironment(this.#store, project, place.environmentKey);
    return record?.environmentId === environmentId ? { project, record } : undefined;
  }

  #search({ tenantId, projectId, environmentId }: EnvironmentRef): FoundRecords {
    const project = listProjects(this.#store, tenantId).find((candidate) => candidate.projectId === projectId);
    const record =
      project && listEnvironments(this.#store, project).find((candidate) => candidate.environmentId === environmentId);
    if (project === undefined || record === undefined) {
      throw new Error('a change names an environment that is not there');
    }
    if (this.#places.size >= PLACES_MAX) this.#places.clear();
    this.#places.set(environmentId, { projectKey: project.key, environmentKey: record.key });
    return { project, record };
  }

  #tagsOf(tenant: string, { projectKey, environmentKey, flagKey }: Readonly<Record<string, string>>): string[] {
    if (projectKey === undefined) return [];
    const tenantId = parseTenantId(tenant);
    const project = this.#store.find<ProjectRecord>(keys.project(tenantId, projectKey));
    if (project === undefined) return [];
    const flag = flagKey && this.#store.find<FlagRecord>(keys.flag(tenantId, project.projectId, flagKey));
    const environment = environmentKey && findEnvironment(this.#store, project, environmentKey);
    return [...(flag ? flag.tags : []), ...(environment ? tagsOfEnvironment(environment) : [])];
  }
}

interface FoundRecords {
  readonly project: ProjectRecord;
  readonly record: EnvironmentRecord;
}

function tagsOfEnvironment({ critical }: EnvironmentRecord): string[] {
  return critical === true ? [CRITICAL_TAG] : [];
}
