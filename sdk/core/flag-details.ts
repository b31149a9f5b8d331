import type { Json } from '@guidon/protocol';

/** OpenFeature's. CACHED: from what was kept on disk, and nobody has been reached yet. STALE: nobody has been reached for too long. */
export const FLAG_REASONS = [
  'STATIC',
  'DEFAULT',
  'TARGETING_MATCH',
  'SPLIT',
  'DISABLED',
  'CACHED',
  'STALE',
  'ERROR',
] as const;
export type FlagReason = (typeof FLAG_REASONS)[number];

/** OpenFeature's. PROVIDER_NOT_READY: there is no configuration or value yet. */
export const FLAG_ERROR_CODES = [
  'PROVIDER_NOT_READY',
  'FLAG_NOT_FOUND',
  'PARSE_ERROR',
  'TYPE_MISMATCH',
  'TARGETING_KEY_MISSING',
  'INVALID_CONTEXT',
  'GENERAL',
] as const;
export type FlagErrorCode = (typeof FLAG_ERROR_CODES)[number];

/** How a value came about. On ERROR `value` is the caller's default and `variation` is absent. */
export interface FlagDetails<Value extends Json = Json> {
  readonly value: Value;
  readonly variation?: string;
  readonly reason: FlagReason;
  readonly errorCode?: FlagErrorCode;
  /** Present whenever a rule served, also with SPLIT. */
  readonly ruleId?: string;
  /** First failed prerequisite of the flag. */
  readonly prerequisite?: string;
  readonly inExperiment?: true;
  /** Of the configuration that was evaluated; 0 before the first. */
  readonly revision: number;
  readonly flagMetadata: FlagMetadata;
}

/** `flagSetId`: the environment. `version`: `<epoch>.<revision>` of its configuration. Empty before the first. */
export interface FlagMetadata {
  readonly flagSetId?: string;
  readonly version?: string;
}
