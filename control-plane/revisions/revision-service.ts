import { PlatformError } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { AuditEntry, AuditRow } from '../audit/audit-entry.js';
import type { Reply } from '../commit/change.js';
import { assertKept, namesTouchedBetween } from '../commit/definition-history.js';
import type { EnvironmentStateRow, RevisionRow } from '../commit/definition-store.js';
import type { ControlPlaneCore } from '../core.js';
import { type EnvironmentPath, getEnvironment, refOf } from '../environments/environment-read-model.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { compare, differencesOf } from './compare-revisions.js';
import { PastDefinitions } from './past-definitions.js';
import { viewRevision } from './revision-view.js';

/** Reads of what was: revisions, what they served, what changed between two. */
export class RevisionService {
  readonly #core: ControlPlaneCore;

  constructor(core: ControlPlaneCore) {
    this.#core = core;
  }

  /** What happened is told for ever; `isKept` says whether what was served can still be read. */
  read(path: EnvironmentPath, revision: number): Reply {
    const { store } = this.#core;
    const environment = refOf(getEnvironment(store, path).environment);
    const row = getRevision(store, path, revision);
    const oldest = store.find<EnvironmentStateRow>(keys.environmentState(environment))?.oldestRevision ?? revision;
    const audit = store.find<AuditRow>(keys.audit(environment.tenantId, row.auditSequence));
    const entry = audit === undefined ? undefined : (JSON.parse(audit.text) as AuditEntry);
    // Of the oldest one that is kept, what it replaced is gone; before the first there was nothing.
    const isDescribed = revision > oldest || (revision === 1 && oldest === 1);
    const body = {
      ...viewRevision(row),
      manifest: row.manifest,
      signature: row.signature,
      actor: entry?.actor ?? null,
      comment: entry?.comment ?? '',
      requestId: entry?.requestId ?? null,
      isKept: revision >= oldest,
      sentences: isDescribed ? this.#compare(path, revision - 1, revision).sentences : null,
    };
    return { status: 200, body };
  }

  /** A flag as it was served at a kept revision. */
  readFlag(path: EnvironmentPath, revision: number, flagKey: string): Reply {
    const past = this.past(path, revision);
    const definition = past.find('flag', flagKey, revision);
    if (definition === undefined) throw notFound();
    return { status: 200, body: { revision, definition } };
  }

  diff(path: EnvironmentPath, revision: number, other: number): Reply {
    this.past(path, revision).assertKept(other);
    return { status: 200, body: { from: revision, to: other, ...this.#compare(path, revision, other) } };
  }

  /** 404 or 410 when it cannot be read. */
  past(path: EnvironmentPath, revision: number): PastDefinitions {
    const { store } = this.#core;
    const environment = refOf(getEnvironment(store, path).environment);
    assertKept(store, environment, revision);
    return new PastDefinitions(store, environment);
  }

  #compare(path: EnvironmentPath, from: number, to: number) {
    const { store } = this.#core;
    const environment = refOf(getEnvironment(store, path).environment);
    const past = new PastDefinitions(store, environment);
    const names = namesTouchedBetween(store, environment, from, to);
    return compare(past, differencesOf(past, names, from, to), from, to);
  }
}

/** The row of any revision that was ever made. */
export function getRevision(store: StoreReader, path: EnvironmentPath, revision: number): RevisionRow {
  const environment = refOf(getEnvironment(store, path).environment);
  const row = store.find<RevisionRow>(keys.revision(environment, revision));
  if (row !== undefined) return row;
  // Only a store of an older build has let revision rows go.
  assertKept(store, environment, revision);
  throw new PlatformError('storage-unavailable', `revision ${revision} is missing`);
}
