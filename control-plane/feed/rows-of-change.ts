import type { TenantId } from '@guidon/protocol';
import type { AuditActor } from '../admin-api/actor.js';
import type { Change, ChangeOutcome, RecordWrite, Versioned } from '../commit/change.js';
import type { PreparedEnvironment } from '../commit/prepare-environment.js';
import { resourcePathOf } from '../roles/resource-path.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { type FeedThing, findThing } from './feed-nouns.js';
import { FeedPlaces } from './feed-places.js';
import { DEFINITIONS_NAMED_MAX, type NewFeedRow } from './feed-row.js';

export interface RecordedChange {
  readonly change: Change;
  readonly prepared: readonly PreparedEnvironment[];
  readonly outcome: ChangeOutcome;
  readonly at: number;
  readonly actor: AuditActor;
  readonly auditSequence: number;
}

/** What a change makes of each thing, in the order of its records, and then of each environment it raised. At least one row. */
export function rowsOfChange(
  store: StoreReader,
  tenantId: TenantId,
  { change, prepared, outcome, at, actor, auditSequence }: RecordedChange,
): NewFeedRow[] {
  const places = new FeedPlaces(store, tenantId, [...(change.relied ?? []), ...change.records]);
  const { action, feedSummary: summary = change.summary } = change;
  const common = { at, actor, action, summary, auditSequence };
  const revisions = new Map<string, number>(
    outcome.environments.map(({ environment, revision }) => [environment.environmentId, revision]),
  );
  const rows: NewFeedRow[] = [];
  for (const write of change.records) {
    const record = write.value ?? write.read;
    const thing = record && isOf(write, tenantId) ? findThing(write.key, record, places) : undefined;
    if (thing === undefined) continue;
    const revision = revisions.get(thing.environmentId ?? '');
    rows.push({
      type: `${String(write.key[2])}.${verbOf(write)}`,
      ...common,
      ...thing,
      ...(revision === undefined ? {} : { revision }),
      ...(write.value === undefined ? { data: null } : {}),
    });
  }
  for (const { change: environmentChange, isRaised, next, definitions } of prepared) {
    if (!isRaised) continue;
    const { epoch, revision, digest } = next;
    rows.push({
      ...common,
      ...revisionThing(places, environmentChange.environment.environmentId, { epoch, revision, digest }),
      revision,
      definitions: {
        count: definitions.length,
        names: definitions.slice(0, DEFINITIONS_NAMED_MAX).map(({ kind, key }) => `${kind}/${key}`),
      },
    });
  }
  if (rows.length > 0) return rows;
  const audience = { action: 'audit.list', path: '', tags: [] } as const;
  return [{ type: 'change.recorded', ...common, subject: change.subject, audience, data: null }];
}

/** Each thing that a change touches, as it was and as it is to be. */
export function thingsOfChange(store: StoreReader, tenantId: TenantId, { relied = [], records }: Change): FeedThing[] {
  const places = new FeedPlaces(store, tenantId, [...relied, ...records]);
  return records
    .filter((write) => isOf(write, tenantId))
    .flatMap(({ key, read, value }) =>
      [read, value].flatMap((record) => (record && findThing(key, record, places)) ?? []),
    );
}

/** Where an environment stands, as the feed tells of it. */
export function revisionThing(
  places: FeedPlaces,
  environmentId: string,
  { epoch, revision, digest }: { readonly epoch: number; readonly revision: number; readonly digest: string },
): Pick<NewFeedRow, 'type' | 'subject' | 'audience' | 'projectId' | 'environmentId' | 'data'> {
  const environment = places.environmentOf(environmentId);
  const { projectKey, key: environmentKey, tags } = environment;
  return {
    type: 'environment.revision',
    subject: `projects/${projectKey}/environments/${environmentKey}/revision`,
    audience: { action: 'revision.read', path: resourcePathOf({ projectKey, environmentKey }), tags },
    projectId: environment.projectId,
    environmentId: environment.environmentId,
    data: { epoch, revision, digest },
  };
}

/** The tenant's own row lies among those of the installation. */
function isOf({ key }: RecordWrite, tenantId: TenantId): boolean {
  return key[0] === tenantId || String(key) === String(keys.tenant(tenantId));
}

/** Members by which things end and come back, as nouns have them. */
type Ending = Versioned & {
  readonly archived?: boolean;
  readonly archivedAt?: number | null;
  readonly revokedAt?: number | null;
  /** Of webhooks: `ok` or what is wrong with them. */
  readonly health?: string;
};

function verbOf({ read, value }: RecordWrite): string {
  if (read === undefined) return 'created';
  if (value === undefined) return 'deleted';
  const [before, after] = [endOf(read), endOf(value)];
  if (before.isRevoked !== after.isRevoked && after.isRevoked) return 'revoked';
  if (before.health !== after.health) return after.health === 'ok' ? 'recovered' : after.health;
  if (before.isArchived !== after.isArchived) return after.isArchived ? 'archived' : 'unarchived';
  return 'updated';
}

function endOf({ archived = false, archivedAt = null, revokedAt = null, health = 'ok' }: Ending): {
  isArchived: boolean;
  isRevoked: boolean;
  health: string;
} {
  return { isArchived: archived || archivedAt !== null, isRevoked: revokedAt !== null, health };
}
