import type { Json } from '@guidon/protocol';
import type { FlagDetails, FlagErrorCode, FlagReason } from './flag-details.js';

/** An evaluation in the words of OpenFeature, for the providers. */
export interface Resolution<Value extends Json> {
  readonly value: Value;
  readonly variant?: string;
  readonly reason: FlagReason;
  readonly errorCode?: FlagErrorCode;
  readonly errorMessage?: string;
  readonly flagMetadata: Record<string, string | number | boolean>;
}

const MESSAGES: Readonly<Record<FlagErrorCode, string>> = {
  PROVIDER_NOT_READY: 'there is no configuration yet',
  FLAG_NOT_FOUND: 'there is no such flag',
  PARSE_ERROR: 'the flag cannot be read by this version',
  TYPE_MISMATCH: 'the flag is of another type',
  TARGETING_KEY_MISSING: 'the flag splits by the targeting key, and the context has none',
  INVALID_CONTEXT: 'the context is not an object of attributes within the limits',
  GENERAL: 'the flag cannot be evaluated',
};

/** Rule, prerequisite and experiment become metadata, for which OpenFeature has no member. */
export function resolutionOf<Value extends Json>(details: FlagDetails<Value>): Resolution<Value> {
  const { value, variation, reason, errorCode, ruleId, prerequisite, inExperiment, flagMetadata } = details;
  return {
    value,
    reason,
    ...(variation === undefined ? {} : { variant: variation }),
    ...(errorCode === undefined ? {} : { errorCode, errorMessage: MESSAGES[errorCode] }),
    flagMetadata: {
      ...flagMetadata,
      ...(ruleId === undefined ? {} : { ruleId }),
      ...(prerequisite === undefined ? {} : { prerequisite }),
      ...(inExperiment === undefined ? {} : { inExperiment }),
    },
  };
}
