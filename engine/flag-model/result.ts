import type { Json } from '@guidon/protocol';

export const REASONS = ['STATIC', 'DEFAULT', 'TARGETING_MATCH', 'SPLIT', 'DISABLED', 'ERROR'] as const;
/** OpenFeature reasons that evaluation gives. CACHED and STALE are set by SDKs only. */
export type Reason = (typeof REASONS)[number];

export const EVALUATION_ERROR_CODES = [
  'FLAG_NOT_FOUND',
  'PARSE_ERROR',
  'TARGETING_KEY_MISSING',
  'INVALID_CONTEXT',
  'GENERAL',
] as const;
export type EvaluationErrorCode = (typeof EVALUATION_ERROR_CODES)[number];

/** The answer for one flag and one context. On ERROR it is exactly `{flag, reason, errorCode}`. Members are in wire order. */
export type Result = ServedResult | ErrorResult;

export interface ServedResult {
  /** The key as asked. */
  readonly flag: string;
  readonly value: Json;
  /** Key of the served variation. */
  readonly variation: string;
  readonly reason: Exclude<Reason, 'ERROR'>;
  /** Present whenever a rule served, also with SPLIT. */
  readonly ruleId?: string;
  /** First failed prerequisite of the asked flag; absent when the asker may not see that flag. */
  readonly prerequisite?: string;
  readonly inExperiment?: true;
}

export interface ErrorResult {
  readonly flag: string;
  readonly reason: 'ERROR';
  readonly errorCode: EvaluationErrorCode;
}
