import type { EnvironmentRef } from '@guidon/protocol';
import { z } from 'zod';
import { timestampSchema } from '../admin-api/params.js';
import type { EnvironmentStateRow } from '../commit/definition-store.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { FLAG_TYPES } from './flag-input.js';
import type { FlagRecord, TargetingRecord } from './flag-record.js';
import { targetingMembers } from './targeting-input.js';

export const targetingSchema = z
  .object({
    flag: z.string(),
    environment: z.string(),
    ...targetingMembers,
    salt: z.string().describe('What buckets depend on besides the bucketing attribute; made once'),
    updatedAt: timestampSchema,
    version: z.int(),
    revision: z.int().describe('Of the environment'),
  })
  .meta({ id: 'EnvironmentTargeting' });

export function viewTargeting(flagKey: string, environmentKey: string, record: TargetingRecord) {
  const { targeting, salt, updatedAt, version } = record;
  return { flag: flagKey, environment: environmentKey, ...targeting, salt, updatedAt, version };
}

/** A flag as one environment sees it, for lists: what is on, and how much there is to it. */
export const targetingSummarySchema = z
  .object({
    key: z.string(),
    name: z.string(),
    type: z.enum(FLAG_TYPES),
    tags: z.array(z.string()),
    clientSide: z.boolean(),
    archived: z.boolean(),
    on: z.boolean(),
    offVariation: z.string(),
    fallthrough: z.looseObject({}),
    ruleCount: z.int(),
    targetKeyCount: z.int(),
    prerequisiteCount: z.int(),
    updatedAt: timestampSchema,
    version: z.int().describe('Of the targeting'),
  })
  .meta({ id: 'TargetingSummary' });

export function viewTargetingSummary(flag: FlagRecord, { targeting, updatedAt, version }: TargetingRecord) {
  const { on, offVariation, fallthrough, rules, targets, prerequisites } = targeting;
  return {
    key: flag.key,
    name: flag.name,
    type: flag.type,
    tags: flag.tags,
    clientSide: flag.clientSide,
    archived: flag.archivedAt !== null,
    on,
    offVariation,
    fallthrough,
    ruleCount: rules.length,
    targetKeyCount: targets.reduce((count, target) => count + target.keys.length, 0),
    prerequisiteCount: prerequisites.length,
    updatedAt,
    version,
  };
}

export function revisionOf(store: StoreReader, environment: EnvironmentRef): number {
  return store.find<EnvironmentStateRow>(keys.environmentState(environment))?.revision ?? 0;
}
