import { PlatformError } from '@guidon/protocol';
import type { Patch } from '../admin-api/patch.js';
import type { Action } from '../admin-api/policy.js';
import type { Change, DefinitionChange, Reply, WriteRequest } from '../commit/change.js';
import { assertIfMatch } from '../commit/if-match.js';
import type { ControlPlaneCore } from '../core.js';
import {
  type EnvironmentPath,
  type FoundEnvironment,
  getEnvironment,
  getOpenEnvironment,
  refOf,
} from '../environments/environment-read-model.js';
import { asJson } from '../flags/as-json.js';
import { assertFits } from '../flags/check-references.js';
import { summarise } from '../flags/describe-flag.js';
import { findSegmentUsers, refuseInUse } from '../flags/find-users.js';
import { servedDefinitions } from '../flags/flag-place.js';
import { KeySpellings } from '../store/key-spellings.js';
import { keys } from '../store/keys.js';
import { archivedKeyRows, archivedKeyTombs, readArchivedKeys } from './archived-keys.js';
import { newSegment, removals } from './new-segment.js';
import { patchSegment } from './segment-edit.js';
import type { SegmentCreate } from './segment-input.js';
import { type SegmentRecord, segmentDefinitionOf } from './segment-record.js';
import { findSegment, getSegment, type SegmentTombstone } from './segment-store.js';
import { describeSegmentChange, viewSegment } from './segment-view.js';

/** A segment has to be archived this long before it can be deleted without force. */
const ARCHIVED_MS_MIN = 7 * 24 * 3_600_000;

/** Rules of segments but for their keys. A segment belongs to one environment: a write locks and raises that one alone. */
export class SegmentService {
  readonly #core: ControlPlaneCore;
  readonly #spellings = new KeySpellings();

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  create(write: WriteRequest, path: EnvironmentPath, body: SegmentCreate): Promise<Reply> {
    return this.#commit(write, path, (found) => {
      const { store, now } = this.#core;
      const environment = refOf(found.environment);
      if (findSegment(store, environment, body.key) !== undefined) {
        throw new PlatformError('conflict', `the segment ${body.key} exists already`);
      }
      this.#spellings.assertFree(
        store,
        keys.segments(environment),
        body.key,
        (key) => findSegment(store, environment, key) !== undefined,
      );
      const tombstone = store.find<SegmentTombstone>(keys.segmentTombstone(environment, body.key));
      const { segment, definitions } = newSegment(body, (tombstone?.version ?? 0) + 1, now());
      this.#assertFits(found, segment.key, definitions);
      const change = this.#changeOf(found, undefined, segment, 'segment.create', definitions);
      const { tenantId, projectKey, environmentKey } = path;
      const location = `/api/v1/tenants/${tenantId}/projects/${projectKey}/environments/${environmentKey}/segments/${segment.key}`;
      return {
        ...change,
        summary: `created segment ${segment.key} in ${environmentKey}`,
        reply: (outcome) => ({ ...change.reply(outcome), status: 201, location }),
      };
    });
  }

  update(write: WriteRequest, path: EnvironmentPath, segmentKey: string, patch: Patch): Promise<Reply> {
    return this.#commit(write, path, (found) => {
      const before = this.#getChecked(write, found, segmentKey);
      const after = patchSegment(before, patch, { pointer: '', now: this.#core.now() });
      const definitions = after.archivedAt === null ? [{ put: segmentDefinitionOf(after) }] : [];
      this.#assertFits(found, segmentKey, definitions);
      return {
        ...this.#changeOf(found, before, after, 'segment.update', definitions),
        summary: summarise(`segment ${segmentKey} in ${path.environmentKey}`, describeSegmentChange(before, after)),
      };
    });
  }

  /** An archived segment is shipped nowhere: its keys are put aside as they are, and come back with it. */
  setArchived(write: WriteRequest, path: EnvironmentPath, segmentKey: string, isArchived: boolean): Promise<Reply> {
    return this.#commit(write, path, (found) => {
      const { store, committer, now } = this.#core;
      const environment = refOf(found.environment);
      const before = this.#getChecked(write, found, segmentKey);
      if (isArchived === (before.archivedAt !== null)) {
        const detail = isArchived ? 'the segment is archived already' : 'the segment is not archived';
        throw new PlatformError('conflict', detail);
      }
      if (isArchived) this.#assertUnused(found, segmentKey);
      const after: SegmentRecord = {
        ...before,
        archivedAt: isArchived ? now() : null,
        updatedAt: now(),
        version: before.version + 1,
      };
      const served = [...committer.flagSetOf(environment).segmentKeys.values()].filter(
        ({ segment }) => segment === segmentKey,
      );
      const definitions: DefinitionChange[] = isArchived
        ? removals(segmentKey, served)
        : [
            { put: segmentDefinitionOf(after) },
            ...readArchivedKeys(store, environment, segmentKey).map((chunk) => ({ put: chunk })),
          ];
      this.#assertFits(found, segmentKey, definitions);
      return {
        ...this.#changeOf(found, before, after, 'segment.archive', definitions),
        summary: isArchived ? `archived segment ${segmentKey}` : `took segment ${segmentKey} out of the archive`,
        rows: isArchived ? archivedKeyRows(environment, served) : archivedKeyTombs(store, environment, segmentKey),
      };
    });
  }

  remove(write: WriteRequest, path: EnvironmentPath, segmentKey: string, isForced: boolean): Promise<Reply> {
    return this.#commit(write, path, (found) => {
      const { store, committer, now } = this.#core;
      const environment = refOf(found.environment);
      const segment = this.#getChecked(write, found, segmentKey);
      if (!isForced && (segment.archivedAt === null || now() - segment.archivedAt < ARCHIVED_MS_MIN)) {
        throw new PlatformError('conflict', 'archive the segment 7 days before you delete it, or send force=true');
      }
      this.#assertUnused(found, segmentKey);
      const served = [...committer.flagSetOf(environment).segmentKeys.values()].filter(
        (chunk) => chunk.segment === segmentKey,
      );
      const tombstone: SegmentTombstone = { version: segment.version };
      return {
        ...this.#changeOf(found, segment, undefined, 'segment.delete', removals(segmentKey, served)),
        summary: `deleted segment ${segmentKey} in ${path.environmentKey}`,
        rows: [
          ...archivedKeyTombs(store, environment, segmentKey),
          { key: keys.segmentTombstone(environment, segmentKey), value: tombstone },
        ],
      };
    });
  }

  #commit(write: WriteRequest, path: EnvironmentPath, plan: (found: FoundEnvironment) => Change): Promise<Reply> {
    const { store, committer } = this.#core;
    const { projectId, environmentId } = getEnvironment(store, path).environment;
    return committer.commit(write, { projectId, environmentId }, () => plan(getOpenEnvironment(store, path)));
  }

  #getChecked(write: WriteRequest, { environment }: FoundEnvironment, segmentKey: string): SegmentRecord {
    const segment = getSegment(this.#core.store, refOf(environment), segmentKey);
    assertIfMatch(write, segment);
    return segment;
  }

  #assertFits({ environment }: FoundEnvironment, segmentKey: string, definitions: readonly DefinitionChange[]): void {
    const flagSet = this.#core.committer.flagSetOf(refOf(environment));
    assertFits(flagSet, definitions, (kind, key) => (kind === 'segment' && key === segmentKey ? '' : undefined));
  }

  #assertUnused({ environment }: FoundEnvironment, segmentKey: string): void {
    const users = findSegmentUsers(servedDefinitions(this.#core, environment), segmentKey);
    refuseInUse(users, `the segment ${segmentKey} is in use`);
  }

  #changeOf(
    found: FoundEnvironment,
    before: SegmentRecord | undefined,
    after: SegmentRecord | undefined,
    action: Action,
    definitions: readonly DefinitionChange[],
  ): Omit<Change, 'summary'> {
    const environment = refOf(found.environment);
    const key = after?.key ?? before?.key ?? '';
    return {
      owner: environment.tenantId,
      action,
      subject: `projects/${found.project.key}/environments/${found.environment.key}/segments/${key}`,
      before: before && asJson(viewSegment(before)),
      after: after && asJson(viewSegment(after)),
      records: [{ key: keys.segment(environment, key), read: before, value: after }],
      relied: reliedOf(found),
      environments: [{ environment, definitions }],
      reply: ({ environments: [outcome] }) => ({
        status: 200,
        body: { ...(after && viewSegment(after)), revision: outcome?.revision },
        ...(after === undefined ? {} : { etag: after.version }),
      }),
    };
  }
}

/** A plan in an environment relies on it and its project not being archived meanwhile. */
export function reliedOf({ project, environment }: FoundEnvironment): NonNullable<Change['relied']> {
  return [
    { key: keys.project(project.tenantId, project.key), read: project },
    { key: keys.environment(project.tenantId, project.projectId, environment.key), read: environment },
  ];
}
