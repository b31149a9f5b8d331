import { PlatformError, type TenantId } from '@guidon/protocol';
import { z } from 'zod';
import type { Versioned } from '../commit/change.js';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import { listEnvironments } from '../environments/environment-read-model.js';
import { listProjects } from '../projects/project-read-model.js';
import type { StoreReader } from '../store/control-store.js';
import { type KeyRange, keys, lastPart, type StoreKey } from '../store/keys.js';
import { findThing } from './feed-nouns.js';
import { FeedPlaces } from './feed-places.js';
import type { FeedViewer, StateItem } from './feed-view.js';
import { revisionThing } from './rows-of-change.js';

export interface StatePage {
  /** Where the feed stood when the first page was read: go on after it once the last page is read. */
  readonly sequence: number;
  readonly items: readonly StateItem[];
  readonly nextCursor: string | null;
}

/** Where a page begins: behind the row `after` of the range, at its beginning without. */
const cursorSchema = z.strictObject({
  sequence: z.int(),
  range: z.string(),
  after: z.union([z.string(), z.number()]).optional(),
});
type StateCursor = z.infer<typeof cursorSchema>;

/** A page that has so much is not filled up; rows are read so many at a time, because each is as large as the thing that it is about. */
const PAGE_BYTES_MAX = 2 * 1024 * 1024;
const BATCH_ROWS = 20;
/** Rows that one page looks at, shown or not. */
const SCAN_ROWS_MAX = 2_000;

/**
 * One page of what a tenant is now. Pages are of different moments: what changes between them comes in the feed after `sequence`, and since each row of
 * that is the whole thing, who applies state and then feed ends with exactly what is there (ADR 42).
 */
export function readState(
  store: StoreReader,
  tenantId: TenantId,
  viewer: FeedViewer,
  { cursor, limit, end }: { readonly cursor: string | undefined; readonly limit: number; readonly end: number },
): StatePage {
  const ranges = rangesOf(store, tenantId);
  const from: StateCursor = cursor === undefined ? { sequence: end, range: TENANT_RANGE } : parseCursor(cursor);
  const first = ranges.findIndex(({ name }) => name === from.range);
  if (first < 0) throw notOurs();
  const { sequence } = from;
  const places = new FeedPlaces(store, tenantId);
  const items: StateItem[] = [];
  let bytes = 0;
  let scanned = 0;
  let after = from.after;
  for (const { name, range, toItem } of ranges.slice(first)) {
    for (;;) {
      const rows = store.list<Versioned>(range, { after, limit: BATCH_ROWS });
      for (const { key, value } of rows) {
        if (items.length >= limit || bytes >= PAGE_BYTES_MAX || scanned >= SCAN_ROWS_MAX) {
          const next: StateCursor = { sequence, range: name, ...(after === undefined ? {} : { after }) };
          return { sequence, items, nextCursor: encodeCursor(next) };
        }
        after = lastPart(key);
        scanned += 1;
        const item = toItem(key, value, places, viewer);
        if (item === undefined) continue;
        bytes += JSON.stringify(item).length;
        items.push(item);
      }
      if (rows.length < BATCH_ROWS) break;
    }
    after = undefined;
  }
  return { sequence, items, nextCursor: null };
}

interface StateRange {
  readonly name: string;
  readonly range: KeyRange;
  readonly toItem: typeof thingItem;
}

const TENANT_RANGE = 'tenant';

/** Everything of a tenant that the feed tells of, in an order in which what stands in something comes after it. */
function rangesOf(store: StoreReader, tenantId: TenantId): StateRange[] {
  const projects = listProjects(store, tenantId);
  return [
    // The tenant's own row has its id as its last part: a range that holds it alone.
    { name: TENANT_RANGE, range: { prefix: keys.tenant(tenantId) }, toItem: thingItem },
    { name: 'roles', range: keys.roles(tenantId), toItem: thingItem },
    { name: 'members', range: keys.members(tenantId), toItem: thingItem },
    { name: 'invitations', range: keys.invitations(tenantId), toItem: thingItem },
    { name: 'admin-credentials', range: keys.adminCredentials(tenantId), toItem: thingItem },
    { name: 'webhooks', range: keys.webhooks(tenantId), toItem: thingItem },
    { name: 'triggers', range: keys.triggers(tenantId), toItem: thingItem },
    { name: 'projects', range: keys.projects(tenantId), toItem: thingItem },
    ...projects.flatMap((project): StateRange[] => [
      {
        name: `environments/${project.projectId}`,
        range: keys.environments(tenantId, project.projectId),
        toItem: thingItem,
      },
      { name: `flags/${project.projectId}`, range: keys.flags(tenantId, project.projectId), toItem: thingItem },
      ...listEnvironments(store, project).flatMap((environment): StateRange[] => {
        const of = (noun: string, range: KeyRange, toItem = thingItem): StateRange => ({
          name: `${noun}/${environment.environmentId}`,
          range,
          toItem,
        });
        return [
          of('targetings', keys.targetings(environment)),
          of('flag-healths', keys.flagHealths(environment)),
          of('segments', keys.segments(environment)),
          of('credentials', keys.credentials(environment)),
          of('revision', { prefix: keys.environmentState(environment) }, revisionItem),
        ];
      }),
    ]),
  ];
}

function thingItem(key: StoreKey, row: Versioned, places: FeedPlaces, viewer: FeedViewer): StateItem | undefined {
  const thing = findThing(key, row, places);
  if (thing === undefined || !viewer.sees(thing.audience)) return undefined;
  const { audience: _, ...rest } = thing;
  return { type: `${String(key[2])}.current`, ...rest };
}

function revisionItem(key: StoreKey, row: object, places: FeedPlaces, viewer: FeedViewer): StateItem | undefined {
  const { audience, ...thing } = revisionThing(places, String(key[1]), row as EnvironmentStateRow);
  return viewer.sees(audience) ? thing : undefined;
}

function encodeCursor(cursor: StateCursor): string {
  return Buffer.from(JSON.stringify(cursor)).toString('base64url');
}

function parseCursor(text: string): StateCursor {
  try {
    return cursorSchema.parse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8')));
  } catch {
    throw notOurs();
  }
}

function notOurs(): PlatformError {
  return new PlatformError('validation-failed', 'the cursor is not one that this list gave');
}
