import { PlatformError, type TenantId } from '@guidon/protocol';
import { applyPatch, type Patch } from '../admin-api/patch.js';
import type { Action } from '../admin-api/policy.js';
import { parseWith } from '../admin-api/problems.js';
import type { Change, RecordRead, RecordWrite, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import { refOf } from '../environments/environment-read-model.js';
import type { EnvironmentRecord } from '../environments/environment-record.js';
import type { FlagHealthRecord } from '../flag-health/flag-health-record.js';
import { getProject } from '../projects/project-read-model.js';
import { KeySpellings } from '../store/key-spellings.js';
import { keys } from '../store/keys.js';
import { asJson } from './as-json.js';
import { describeFlagChange, summarise } from './describe-flag.js';
import { findFlagUsers, findPrerequisiteUsers, findVariationUsers, refuseInUse } from './find-users.js';
import { checkValues, editableOf, type FlagCreate, flagEditSchema } from './flag-input.js';
import { environmentChanges, type FlagPlace, getOpenPlace, servedDefinitions } from './flag-place.js';
import type { FlagRecord, TargetingRecord } from './flag-record.js';
import { type FlagTombstone, findFlag, getFlag, getTargeting } from './flag-store.js';
import { revisionsOf, viewFlag } from './flag-view.js';
import { initialTargetings, mustTargeting, newFlag } from './new-flag.js';

/** A flag has to be archived this long before it can be deleted without force. */
const ARCHIVED_MS_MIN = 7 * 24 * 3_600_000;

/** Rules of flags. A flag belongs to its project, so every write here is a change of all of the project's environments. */
export class FlagService {
  readonly #core: ControlPlaneCore;
  readonly #spellings = new KeySpellings();

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, tenantId: TenantId, projectKey: string, body: FlagCreate): Promise<Reply> {
    return this.#commit(write, tenantId, projectKey, (place) => {
      const { store, now } = this.#core;
      const { projectId } = place.project;
      if (findFlag(store, tenantId, projectId, body.key) !== undefined) {
        throw new PlatformError('conflict', `the flag ${body.key} exists already`);
      }
      this.#spellings.assertFree(
        store,
        keys.flags(tenantId, projectId),
        body.key,
        (key) => findFlag(store, tenantId, projectId, key) !== undefined,
      );
      const tombstone = store.find<FlagTombstone>(keys.flagTombstone(tenantId, projectId, body.key));
      const version = (tombstone?.version ?? 0) + 1;
      const flag = newFlag(body, version, now());
      const targetings = initialTargetings(place, flag, body);
      const location = `/api/v1/tenants/${tenantId}/projects/${projectKey}/flags/${flag.key}`;
      return {
        ...this.#changeOf(place, undefined, flag, 'flag.create'),
        summary: `created flag ${flag.key}`,
        records: [
          { key: keys.flag(tenantId, projectId, flag.key), read: undefined, value: flag },
          ...place.environments.map((environment) =>
            targetingWrite(environment, flag.key, undefined, targetings.get(environment.key)),
          ),
        ],
        environments: environmentChanges(
          this.#core,
          place,
          flag,
          ({ key }) => mustTargeting(targetings, key),
          ({ key }) =>
            () =>
              `/initialTargeting/${key}`,
        ).map((change, index) => {
          const environmentKey = place.environments[index]?.key ?? '';
          return { ...change, changesNoAnswer: !Object.hasOwn(body.initialTargeting ?? {}, environmentKey) };
        }),
        reply: (outcome) => ({
          status: 201,
          body: { ...viewFlag(flag), revisions: revisionsOf(place.environments, outcome) },
          etag: flag.version,
          location,
        }),
      };
    });
  }

  update(write: WriteRequest, tenantId: TenantId, projectKey: string, flagKey: string, patch: Patch): Promise<Reply> {
    return this.#commit(write, tenantId, projectKey, (place) => {
      const before = this.#getChecked(write, place, flagKey);
      const edit = parseWith(flagEditSchema, applyPatch(asJson(editableOf(before)), patch));
      const after: FlagRecord = {
        ...before,
        ...edit,
        ...checkValues(before.type, edit),
        version: before.version + 1,
        updatedAt: this.#core.now(),
      };
      this.#assertVariationsUnused(place, before, after);
      return {
        ...this.#changeOf(place, before, after, 'flag.update'),
        summary: summarise(`flag ${flagKey}`, describeFlagChange(before, after)),
        environments: environmentChanges(this.#core, place, after),
      };
    });
  }

  setArchived(
    write: WriteRequest,
    tenantId: TenantId,
    projectKey: string,
    flagKey: string,
    isArchived: boolean,
  ): Promise<Reply> {
    return this.#commit(write, tenantId, projectKey, (place) => {
      const before = this.#getChecked(write, place, flagKey);
      if (isArchived === (before.archivedAt !== null)) {
        throw new PlatformError('conflict', isArchived ? 'the flag is archived already' : 'the flag is not archived');
      }
      if (isArchived) this.#assertUnused(place, flagKey);
      const now = this.#core.now();
      const after: FlagRecord = {
        ...before,
        archivedAt: isArchived ? now : null,
        updatedAt: now,
        version: before.version + 1,
      };
      return {
        ...this.#changeOf(place, before, after, 'flag.archive'),
        summary: isArchived ? `archived flag ${flagKey}` : `took flag ${flagKey} out of the archive`,
        environments: environmentChanges(this.#core, place, after),
      };
    });
  }

  /** Takes the flag and its targeting away for good. Its key may be used again: that is another flag, with other salts. */
  remove(
    write: WriteRequest,
    tenantId: TenantId,
    projectKey: string,
    flagKey: string,
    isForced: boolean,
  ): Promise<Reply> {
    return this.#commit(write, tenantId, projectKey, (place) => {
      const { store, now } = this.#core;
      const { projectId } = place.project;
      const flag = this.#getChecked(write, place, flagKey);
      if (!isForced && (flag.archivedAt === null || now() - flag.archivedAt < ARCHIVED_MS_MIN)) {
        throw new PlatformError('conflict', 'archive the flag 7 days before you delete it, or send force=true');
      }
      this.#assertUnused(place, flagKey);
      const targetings = place.environments.map((environment) => ({
        environment,
        record: getTargeting(store, refOf(environment), flagKey),
      }));
      const version = Math.max(flag.version, ...targetings.map(({ record }) => record.version));
      const tombstone: FlagTombstone = { version };
      return {
        ...this.#changeOf(place, flag, undefined, 'flag.delete'),
        summary: `deleted flag ${flagKey}`,
        records: [
          { key: keys.flag(tenantId, projectId, flagKey), read: flag, value: undefined },
          ...targetings.map(({ environment, record }) => targetingWrite(environment, flagKey, record, undefined)),
          ...place.environments.flatMap((environment) => {
            const key = keys.flagHealth(refOf(environment), flagKey);
            const read = store.find<FlagHealthRecord>(key);
            return read === undefined ? [] : [{ key, read, value: undefined }];
          }),
        ],
        rows: [{ key: keys.flagTombstone(tenantId, projectId, flagKey), value: tombstone }],
        environments: place.environments.map((environment) => ({
          environment: refOf(environment),
          definitions: [{ remove: { kind: 'flag' as const, key: flagKey } }],
        })),
        reply: (outcome) => ({ status: 200, body: { revisions: revisionsOf(place.environments, outcome) } }),
      };
    });
  }

  #commit(
    write: WriteRequest,
    tenantId: TenantId,
    projectKey: string,
    plan: (place: FlagPlace) => Change,
  ): Promise<Reply> {
    const { store, committer } = this.#core;
    const { projectId } = getProject(store, tenantId, projectKey);
    return committer.commit(write, { projectId }, () => plan(getOpenPlace(this.#core, tenantId, projectKey)));
  }

  #getChecked(write: WriteRequest, { project }: FlagPlace, flagKey: string): FlagRecord {
    const flag = getFlag(this.#core.store, project.tenantId, project.projectId, flagKey);
    assertIfMatch(write, flag);
    return flag;
  }

  /** The parts of a change that are the same for every change of a flag. */
  #changeOf(
    place: FlagPlace,
    before: FlagRecord | undefined,
    after: FlagRecord | undefined,
    action: Action,
  ): Omit<Change, 'summary' | 'environments'> {
    const { project, environments } = place;
    const { tenantId, projectId } = project;
    const key = after?.key ?? before?.key ?? '';
    return {
      owner: tenantId,
      action,
      subject: `projects/${project.key}/flags/${key}`,
      before: before && asJson(viewFlag(before)),
      after: after && asJson(viewFlag(after)),
      records: [{ key: keys.flag(tenantId, projectId, key), read: before, value: after }],
      relied: [
        { key: keys.project(tenantId, project.key), read: project },
        ...(before === undefined || after === undefined ? [] : this.#targetingsOf(place, key)),
      ],
      reply: (outcome) => ({
        status: 200,
        body: { ...(after && viewFlag(after)), revisions: revisionsOf(environments, outcome) },
        ...(after === undefined ? {} : { etag: after.version }),
      }),
    };
  }

  /** The definitions of an edited flag are made of these, which the edit itself does not write. */
  #targetingsOf({ environments }: FlagPlace, flagKey: string): RecordRead[] {
    return environments.map((environment) => ({
      key: keys.targeting(refOf(environment), flagKey),
      read: getTargeting(this.#core.store, refOf(environment), flagKey),
    }));
  }

  #assertUnused({ environments }: FlagPlace, flagKey: string): void {
    const users = environments.flatMap((environment) =>
      findFlagUsers(servedDefinitions(this.#core, environment), flagKey),
    );
    refuseInUse(users, `the flag ${flagKey} is a prerequisite of other flags`);
  }

  #assertVariationsUnused({ environments }: FlagPlace, before: FlagRecord, after: FlagRecord): void {
    const kept = new Set(after.variations.map(({ key }) => key));
    const removed = new Set(before.variations.map(({ key }) => key).filter((key) => !kept.has(key)));
    if (removed.size === 0) return;
    const users = environments.flatMap((environment) => [
      ...findVariationUsers(
        environment.key,
        before.key,
        getTargeting(this.#core.store, refOf(environment), before.key).targeting,
        removed,
      ),
      ...findPrerequisiteUsers(servedDefinitions(this.#core, environment), before.key, removed),
    ]);
    refuseInUse(users, `variations to be removed are in use: ${[...removed].join(', ')}`);
  }
}

function targetingWrite(
  environment: EnvironmentRecord,
  flagKey: string,
  read: TargetingRecord | undefined,
  value: TargetingRecord | undefined,
): RecordWrite {
  return { key: keys.targeting(refOf(environment), flagKey), read, value };
}
