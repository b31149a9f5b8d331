import type { Context, FlagDetails, Json, ValueType } from '@guidon/sdk-core';

/** What is being asked. */
export interface AskedFlag {
  readonly flagKey: string;
  readonly context: Context;
  readonly type: ValueType;
  readonly defaultValue: Json;
}

/** Hears of evaluations by the typed getters; cannot change them. What it throws is warned of and goes no further. */
export interface EvaluationHook {
  before?(asked: AskedFlag): void;
  after?(asked: AskedFlag, details: FlagDetails): void;
}
