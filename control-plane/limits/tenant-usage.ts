import { PlatformError, type TenantId } from '@guidon/protocol';
import type { RecordWrite } from '../commit/change.js';
import type { StoreReader, StoreTransaction } from '../store/control-store.js';
import { INSTALLATION, keys, type Scope, type StoreKey } from '../store/keys.js';
import { findTenant } from '../tenants/tenant-read-model.js';
import { allowedOf, RESOURCE_LIMITS, RESOURCES, type Resource } from './tenant-quotas.js';

/** The row under `keys.tenantUsage`: how much a tenant has of each; 0 is left out. */
export type TenantUsage = { readonly [Name in Resource]?: number };

/** By the noun of a row: what it counts towards, and how much. Every row that counts is written as a record of a change, so no route can forget it. */
const COUNTED: Readonly<Record<string, { readonly resource: Resource; readonly countOf: (row: object) => number }>> = {
  project: { resource: 'projects', countOf: () => 1 },
  environment: { resource: 'environments', countOf: () => 1 },
  flag: { resource: 'flags', countOf: () => 1 },
  segment: { resource: 'segmentKeys', countOf: keysIn },
  credential: { resource: 'credentials', countOf: (row) => (isEnded(row) ? 0 : 1) },
  'admin-credential': { resource: 'adminCredentials', countOf: (row) => (isEnded(row) ? 0 : 1) },
  member: { resource: 'members', countOf: () => 1 },
  invitation: { resource: 'invitations', countOf: () => 1 },
  role: { resource: 'roles', countOf: () => 1 },
  trigger: { resource: 'triggers', countOf: () => 1 },
  webhook: { resource: 'webhooks', countOf: () => 1 },
};

/** Revoked, or replaced by another one: what ends by its date alone counts until it is revoked. */
function isEnded(row: object): boolean {
  const { revokedAt, replacedBy } = row as { revokedAt?: number | null; replacedBy?: string | null };
  return (revokedAt ?? null) !== null || (replacedBy ?? null) !== null;
}

function keysIn(row: object): number {
  const { keyCounts = [] } = row as { keyCounts?: readonly { readonly count: number }[] };
  return keyCounts.reduce((sum, { count }) => sum + count, 0);
}

export function findUsage(store: StoreReader, tenantId: TenantId): TenantUsage {
  return store.find<TenantUsage>(keys.tenantUsage(tenantId)) ?? {};
}

/** What the records of a change add to, or take from, what their tenant has. */
export function usageDeltaOf(owner: Scope, records: readonly RecordWrite[]): Map<Resource, number> {
  const delta = new Map<Resource, number>();
  if (owner === INSTALLATION) return delta;
  for (const { key, read, value } of records) {
    if (key[0] !== owner) continue;
    addCount(delta, key, value, 1);
    addCount(delta, key, read, -1);
  }
  return new Map([...delta].filter(([, count]) => count !== 0));
}

/** Counts one stored row `factor` times. */
export function addCount(counts: Map<Resource, number>, key: StoreKey, row: object | undefined, factor: number): void {
  const counted = COUNTED[String(key[2])];
  if (row === undefined || counted === undefined) return;
  counts.set(counted.resource, (counts.get(counted.resource) ?? 0) + factor * counted.countOf(row));
}

/** Throws `limit-exceeded` when the tenant would have more of something than it may. What takes away is never refused. */
export function assertWithinQuotas(store: StoreReader, tenantId: TenantId, delta: ReadonlyMap<Resource, number>): void {
  if (![...delta.values()].some((count) => count > 0)) return;
  const usage = findUsage(store, tenantId);
  const quotas = findTenant(store, tenantId)?.quotas;
  for (const [resource, added] of delta) {
    const used = usage[resource] ?? 0;
    const allowed = allowedOf(quotas, resource);
    if (added <= 0 || used + added <= allowed) continue;
    const detail = `the tenant may have ${allowed} ${RESOURCE_LIMITS[resource].words} and has ${used}`;
    throw new PlatformError('limit-exceeded', detail, { extensions: { limit: resource, used, allowed } });
  }
}

/** Inside the transaction of the change: checks and counts at once, so that two changes at a time cannot pass a limit together. */
export function countUsage(transaction: StoreTransaction, owner: Scope, records: readonly RecordWrite[]): void {
  const delta = usageDeltaOf(owner, records);
  if (owner === INSTALLATION || delta.size === 0) return;
  assertWithinQuotas(transaction, owner, delta);
  putUsage(transaction, owner, findUsage(transaction, owner), delta);
}

function putUsage(
  transaction: StoreTransaction,
  tenantId: TenantId,
  before: TenantUsage,
  delta: ReadonlyMap<Resource, number>,
): void {
  transaction.put(keys.tenantUsage(tenantId), usageRowOf(before, delta));
}

export function usageRowOf(before: TenantUsage, delta: ReadonlyMap<Resource, number>): TenantUsage {
  const usage = RESOURCES.map((resource) => [resource, (before[resource] ?? 0) + (delta.get(resource) ?? 0)] as const);
  return Object.fromEntries(usage.filter(([, count]) => count !== 0));
}

/** Counts what a tenant has from its rows: for a store of a build that did not count. */
export function recountUsage(transaction: StoreTransaction, tenantId: TenantId): void {
  const counts = new Map<Resource, number>();
  const countAll = (range: { readonly prefix: StoreKey }): void => {
    for (const { key, value } of transaction.list<object>(range)) addCount(counts, key, value, 1);
  };
  countAll(keys.roles(tenantId));
  countAll(keys.projects(tenantId));
  countAll(keys.adminCredentials(tenantId));
  countAll(keys.flagsOfTenant(tenantId));
  countAll(keys.environmentsOfTenant(tenantId));
  for (const { value } of transaction.list<{ environmentId: string }>(keys.environmentsOfTenant(tenantId))) {
    const environment = { tenantId, environmentId: value.environmentId as never };
    countAll(keys.segments(environment));
    countAll(keys.credentials(environment));
  }
  putUsage(transaction, tenantId, {}, counts);
}
