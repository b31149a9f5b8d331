import type { Result } from '@guidon/engine/in-process';
import {
  type Context,
  type FlagDetails,
  type FlagErrorCode,
  type FlagMetadata,
  isOfType,
  type Json,
  type ValueType,
} from '@guidon/sdk-core';
import type { FlagOverrides } from './flag-overrides.js';
import type { AskedFlag, EvaluationHook } from './hooks.js';
import type { Serving } from './serving.js';
import type { Usage } from './usage.js';

export interface EvaluationParts {
  readonly overrides: FlagOverrides;
  readonly hooks: readonly EvaluationHook[];
  /** Absent: nothing is counted. */
  readonly usage: Usage | undefined;
  /** In place of an answer's own reason, when it may be out of date. */
  readonly staleReason: () => 'CACHED' | 'STALE' | undefined;
  readonly warn: (message: string, error?: unknown) => void;
}

const NO_METADATA: FlagMetadata = Object.freeze({});

/** From a question to an answer, with what serves at the moment. Never throws. */
export class Evaluation {
  /** Replaced as a whole with each revision; undefined before the first. */
  serving: Serving | undefined;
  /** Somebody wants details of each evaluation, or replaces some: then the short way is closed. */
  readonly isObserved: boolean;
  readonly #parts: EvaluationParts;

  constructor(parts: EvaluationParts) {
    this.#parts = parts;
    this.isObserved = parts.hooks.length > 0 || !parts.overrides.isEmpty;
  }

  /** The value alone, whatever its type; undefined: the caller's default. */
  value(flagKey: string, context: Context): Json | undefined {
    const { serving } = this;
    if (serving === undefined) return undefined;
    const result = this.#evaluate(serving, flagKey, context);
    return result === undefined || result.reason === 'ERROR' ? undefined : result.value;
  }

  /** Value and how it came about. Hooks hear of it. */
  details<Value extends Json>(
    flagKey: string,
    context: Context,
    type: ValueType,
    defaultValue: Value,
  ): FlagDetails<Value> {
    if (this.#parts.hooks.length === 0) return this.#details(flagKey, context, type, defaultValue);
    const asked: AskedFlag = { flagKey, context, type, defaultValue };
    this.#tell((hook) => hook.before?.(asked));
    const details = this.#details(flagKey, context, type, defaultValue);
    this.#tell((hook) => hook.after?.(asked, details));
    return details;
  }

  #details<Value extends Json>(
    flagKey: string,
    context: Context,
    type: ValueType,
    defaultValue: Value,
  ): FlagDetails<Value> {
    const { serving } = this;
    const revision = serving?.revision ?? 0;
    const flagMetadata = serving?.flagMetadata ?? NO_METADATA;
    const failed = (errorCode: FlagErrorCode): FlagDetails<Value> => ({
      value: defaultValue,
      reason: 'ERROR',
      errorCode,
      revision,
      flagMetadata,
    });
    const override = this.#parts.overrides.find(flagKey);
    if (override !== undefined) {
      if (!isOfType(override, type)) return failed('TYPE_MISMATCH');
      return { value: override as Value, variation: 'override', reason: 'STATIC', revision, flagMetadata };
    }
    if (serving === undefined) return failed('PROVIDER_NOT_READY');
    const result = this.#evaluate(serving, flagKey, context);
    if (result === undefined) return failed('GENERAL');
    if (result.reason === 'ERROR') return failed(result.errorCode);
    if (!isOfType(result.value, type)) return failed('TYPE_MISMATCH');
    const { value, variation, reason, ruleId, prerequisite, inExperiment } = result;
    return {
      // Checked above; what typegen registered of the value beyond its type is the word of whoever ran it.
      value: value as Value,
      variation,
      reason: this.#parts.staleReason() ?? reason,
      ...(ruleId === undefined ? {} : { ruleId }),
      ...(prerequisite === undefined ? {} : { prerequisite }),
      ...(inExperiment === undefined ? {} : { inExperiment }),
      revision,
      flagMetadata,
    };
  }

  /** Undefined when a context throws where it is read: nothing of the caller's may come out of a getter. */
  #evaluate(serving: Serving, flagKey: string, context: Context): Result | undefined {
    try {
      const result = serving.evaluator.evaluate(flagKey, context, serving.options);
      this.#parts.usage?.count(result, serving.revision, context);
      return result;
    } catch (error) {
      this.#parts.warn('an evaluation failed', error);
      return undefined;
    }
  }

  #tell(stage: (hook: EvaluationHook) => void): void {
    for (const hook of this.#parts.hooks) {
      try {
        stage(hook);
      } catch (error) {
        this.#parts.warn('a hook threw', error);
      }
    }
  }
}
