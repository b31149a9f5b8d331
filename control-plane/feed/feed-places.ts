import type { EnvironmentRef, TenantId } from '@guidon/protocol';
import type { RecordRead, RecordWrite } from '../commit/change.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import type { FlagRecord } from '../flags/flag-record.js';
import type { ProjectRecord } from '../projects/project-record.js';
import { CRITICAL_TAG } from '../roles/built-in-roles.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';

/** Where an environment stands, as paths and policies name it. */
export interface FeedEnvironment extends EnvironmentRef {
  readonly projectKey: string;
  readonly key: string;
  readonly tags: readonly string[];
}

/** Names and tags for the rows of one change, or of one page of state. What the change has read or written is not read again. */
export class FeedPlaces {
  readonly #store: StoreReader;
  readonly #tenantId: TenantId;
  readonly #projectKeys = new Map<string, string>();
  readonly #environments = new Map<string, EnvironmentRecord>();
  readonly #flagTags = new Map<string, readonly string[]>();

  constructor(store: StoreReader, tenantId: TenantId, known: readonly (RecordRead | RecordWrite)[] = []) {
    this.#store = store;
    this.#tenantId = tenantId;
    for (const one of known) {
      const record = ('value' in one ? one.value : undefined) ?? one.read;
      if (record === undefined) continue;
      const [, , noun, projectId, key] = one.key;
      if (noun === 'project') this.#learnProject(record as ProjectRecord);
      if (noun === 'environment') this.#learnEnvironment(record as EnvironmentRecord);
      if (noun === 'flag') this.#flagTags.set(`${projectId}/${key}`, (record as FlagRecord).tags);
    }
  }

  /** By its id when there is no such project any more. */
  projectKeyOf(projectId: string): string {
    if (!this.#projectKeys.has(projectId)) {
      this.#projectKeys.set(projectId, projectId);
      for (const { value } of this.#store.list<ProjectRecord>(keys.projects(this.#tenantId))) this.#learnProject(value);
    }
    return this.#projectKeys.get(projectId) ?? projectId;
  }

  environmentOf(environmentId: string): FeedEnvironment {
    const known = this.#environments.get(environmentId);
    const environment = known ?? this.#store.find<EnvironmentRef>(keys.environmentOwner(environmentId));
    if (environment === undefined) throw new Error('a thing stands in an environment that is not there');
    const { tenantId, projectId } = environment;
    const record = known ?? this.#readEnvironment(projectId, environmentId);
    return {
      tenantId,
      projectId,
      environmentId: environment.environmentId,
      projectKey: this.projectKeyOf(projectId),
      key: record?.key ?? environmentId,
      tags: record?.critical === true ? [CRITICAL_TAG] : [],
    };
  }

  /** None for a flag that is not there any more. */
  flagTagsOf(projectId: string, flagKey: string): readonly string[] {
    const name = `${projectId}/${flagKey}`;
    const tags =
      this.#flagTags.get(name) ??
      this.#store.find<FlagRecord>(keys.flag(this.#tenantId, projectId, flagKey))?.tags ??
      [];
    this.#flagTags.set(name, tags);
    return tags;
  }

  #readEnvironment(projectId: string, environmentId: string): EnvironmentRecord | undefined {
    const range = keys.environments(this.#tenantId, projectId);
    for (const { value } of this.#store.list<EnvironmentRecord>(range)) this.#learnEnvironment(value);
    return this.#environments.get(environmentId);
  }

  #learnProject({ projectId, key }: ProjectRecord): void {
    this.#projectKeys.set(projectId, key);
  }

  #learnEnvironment(record: EnvironmentRecord): void {
    this.#environments.set(record.environmentId, record);
  }
}
