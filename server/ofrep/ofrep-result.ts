import type { Json } from '@guidon/protocol';
import { positionText } from '@guidon/protocol/live-updates';
import type { EnvironmentSlot } from '../environment-slot.js';

/** What the kernel says of one flag, in JSON. */
export interface KernelResult {
  readonly flag: string;
  readonly value?: Json;
  readonly variation?: string;
  readonly reason: string;
  readonly ruleId?: string;
  readonly prerequisite?: string;
  readonly inExperiment?: boolean;
  readonly errorCode?: OfrepErrorCode;
}

export interface KernelResults {
  readonly revision: number;
  readonly results: readonly KernelResult[];
}

/** Those of evaluation; the ones of a request that is no evaluation are among them. */
export type OfrepErrorCode = 'FLAG_NOT_FOUND' | 'PARSE_ERROR' | 'TARGETING_KEY_MISSING' | 'INVALID_CONTEXT' | 'GENERAL';

export const ERROR_DETAILS: Readonly<Record<OfrepErrorCode, string>> = {
  FLAG_NOT_FOUND: 'There is no such flag for this credential.',
  PARSE_ERROR: 'The flag is not one that this node can read.',
  TARGETING_KEY_MISSING: 'The flag splits by the targeting key, and the context has none.',
  INVALID_CONTEXT: 'The context is not an object of attributes within the limits.',
  GENERAL: 'The flag costs more to evaluate than one flag may.',
};

/** Metadata that OpenFeature names. `flagSetId`: `<projectId>/<environmentId>`, for a node knows ids and no keys. `version`: `<epoch>.<revision>`. */
export interface FlagSetMetadata {
  readonly flagSetId: string;
  readonly version: string;
}

/** Answers name no epoch; it rises with restores alone, so that of what serves is that of what was evaluated just before. */
export function flagSetMetadata({ environment, serving }: EnvironmentSlot, revision: number): FlagSetMetadata {
  const { projectId, environmentId } = environment;
  return {
    flagSetId: `${projectId}/${environmentId}`,
    version: positionText({ epoch: serving?.epoch ?? 0, revision }),
  };
}

/** `reason` is ours as it is: OFREP 0.3.0 lists no DEFAULT, yet uses it, and so do its clients. */
export function ofrepResult(result: KernelResult, flagSet: FlagSetMetadata): object {
  const { flag: key, value, variation: variant, reason, ruleId, prerequisite, inExperiment, errorCode } = result;
  const metadata = { ...flagSet, ruleId, prerequisite, inExperiment };
  if (errorCode !== undefined) return { key, errorCode, errorDetails: ERROR_DETAILS[errorCode], metadata };
  return { key, value, reason, variant, metadata };
}
