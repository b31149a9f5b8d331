import type { EnvironmentRef, TenantId } from '@guidon/protocol';
import { notFound } from '../admin-api/problems.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import type { FlagRecord, TargetingRecord } from './flag-record.js';

/** Left behind by a deleted flag, so that versions of a new flag with the same key go on where the old ones ended (I5). */
export interface FlagTombstone {
  readonly version: number;
}

export function findFlag(
  store: StoreReader,
  tenantId: TenantId,
  projectId: string,
  flagKey: string,
): FlagRecord | undefined {
  return store.find<FlagRecord>(keys.flag(tenantId, projectId, flagKey));
}

/** 404 when there is none. */
export function getFlag(store: StoreReader, tenantId: TenantId, projectId: string, flagKey: string): FlagRecord {
  const flag = findFlag(store, tenantId, projectId, flagKey);
  if (flag === undefined) throw notFound();
  return flag;
}

export function listFlags(store: StoreReader, tenantId: TenantId, projectId: string): FlagRecord[] {
  return store.list<FlagRecord>(keys.flags(tenantId, projectId)).map(({ value }) => value);
}

/** Every flag has one in every environment of its project: a missing row is damage, not an answer. */
export function getTargeting(store: StoreReader, environment: EnvironmentRef, flagKey: string): TargetingRecord {
  const record = store.find<TargetingRecord>(keys.targeting(environment, flagKey));
  if (record === undefined) throw new Error(`environment ${environment.environmentId} lacks the targeting of a flag`);
  return record;
}
