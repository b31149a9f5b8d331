import type { FlagDefinition, Result, ServedResult } from '@guidon/engine';
import type { VectorCase, VectorFile } from '../../support/vectors.js';

/** A file of vectors in the making: `file` is its name without `.json`. */
export interface VectorTable extends VectorFile {
  readonly file: string;
}

/** A vector file from the members that matter; the others are empty. */
export function table(
  file: string,
  description: string,
  content: Partial<Omit<VectorFile, 'description'>> & { readonly cases: readonly VectorCase[] },
): VectorTable {
  return { file, description, flags: [], segments: [], segmentKeys: [], ...content };
}

type Served = Pick<ServedResult, 'ruleId' | 'prerequisite' | 'inExperiment'>;

/** What a flag of `aFlag` answers when it serves `variation`: each variation's value is its own key. */
export function serves(flag: string, variation: string, reason: ServedResult['reason'], more: Served = {}): Result {
  return { flag, value: variation, variation, reason, ...more };
}

/** The rule `r` served `yes`. */
export function yes(flag: string): Result {
  return serves(flag, 'yes', 'TARGETING_MATCH', { ruleId: 'r' });
}

/** The fallthrough served `no`. */
export function no(flag: string): Result {
  return serves(flag, 'no', 'DEFAULT');
}

export function fails(
  flag: string,
  errorCode: 'FLAG_NOT_FOUND' | 'PARSE_ERROR' | 'TARGETING_KEY_MISSING' | 'INVALID_CONTEXT' | 'GENERAL',
): Result {
  return { flag, reason: 'ERROR', errorCode };
}

/** The only rule of a flag: serves `yes` when the condition holds. */
export function ruleWhen(when: FlagDefinition['rules'][number]['when']): Pick<FlagDefinition, 'rules'> {
  return { rules: [{ id: 'r', when, serve: { variation: 'yes' } }] };
}
