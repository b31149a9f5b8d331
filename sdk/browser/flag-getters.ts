import {
  type FlagDetails,
  type FlagErrorCode,
  type FlagKeyOf,
  type FlagMetadata,
  type FlagValueOf,
  isOfType,
  type Json,
  type Structure,
  type ValueType,
} from '@guidon/sdk-core';
import type { EvaluatedFlag } from './browser-client.js';

/** What is known about a flag, and of which configuration. */
export interface Found {
  /** Absent: there is no such flag, or nothing is known yet. */
  readonly result: EvaluatedFlag | undefined;
  readonly isReady: boolean;
  /** In place of the result's own reason. */
  readonly reason?: 'CACHED' | 'STALE' | undefined;
  readonly revision: number;
  readonly flagMetadata: FlagMetadata;
}

/** The typed getters over whatever finds a flag. */
export abstract class FlagGetters {
  protected abstract find(flagKey: string): Found;
  /** The flag was asked for, and this was answered. */
  protected abstract used(flagKey: string, details: FlagDetails): void;

  boolean<Key extends FlagKeyOf<boolean>>(flagKey: Key, defaultValue: FlagValueOf<Key, boolean>) {
    return this.#details(flagKey, 'boolean', defaultValue).value;
  }

  string<Key extends FlagKeyOf<string>>(flagKey: Key, defaultValue: FlagValueOf<Key, string>) {
    return this.#details(flagKey, 'string', defaultValue).value;
  }

  number<Key extends FlagKeyOf<number>>(flagKey: Key, defaultValue: FlagValueOf<Key, number>) {
    return this.#details(flagKey, 'number', defaultValue).value;
  }

  json<Key extends FlagKeyOf<Structure>>(flagKey: Key, defaultValue: FlagValueOf<Key, Structure>) {
    return this.#details(flagKey, 'json', defaultValue).value;
  }

  booleanDetails<Key extends FlagKeyOf<boolean>>(flagKey: Key, defaultValue: FlagValueOf<Key, boolean>) {
    return this.#details(flagKey, 'boolean', defaultValue);
  }

  stringDetails<Key extends FlagKeyOf<string>>(flagKey: Key, defaultValue: FlagValueOf<Key, string>) {
    return this.#details(flagKey, 'string', defaultValue);
  }

  numberDetails<Key extends FlagKeyOf<number>>(flagKey: Key, defaultValue: FlagValueOf<Key, number>) {
    return this.#details(flagKey, 'number', defaultValue);
  }

  jsonDetails<Key extends FlagKeyOf<Structure>>(flagKey: Key, defaultValue: FlagValueOf<Key, Structure>) {
    return this.#details(flagKey, 'json', defaultValue);
  }

  #details<Value extends Json>(flagKey: string, type: ValueType, defaultValue: Value): FlagDetails<Value> {
    const details = this.#detailsOf(flagKey, type, defaultValue);
    this.used(flagKey, details);
    return details;
  }

  #detailsOf<Value extends Json>(flagKey: string, type: ValueType, defaultValue: Value): FlagDetails<Value> {
    const { result, isReady, reason, revision, flagMetadata } = this.find(flagKey);
    const failed = (errorCode: FlagErrorCode): FlagDetails<Value> => ({
      value: defaultValue,
      reason: 'ERROR',
      errorCode,
      revision,
      flagMetadata,
    });
    if (result === undefined) return failed(isReady ? 'FLAG_NOT_FOUND' : 'PROVIDER_NOT_READY');
    if (result.errorCode !== undefined) return failed(result.errorCode);
    const { value, variation, ruleId, prerequisite, inExperiment } = result;
    const isServed = value !== undefined && variation !== undefined && variation !== null;
    if (isServed && !isOfType(value, type)) return failed('TYPE_MISMATCH');
    return {
      // Checked above; what typegen registered of the value beyond its type is the word of whoever ran it.
      value: isServed ? (value as Value) : defaultValue,
      ...(isServed ? { variation } : {}),
      reason: reason ?? result.reason,
      ...(ruleId === undefined ? {} : { ruleId }),
      ...(prerequisite === undefined ? {} : { prerequisite }),
      ...(inExperiment === undefined ? {} : { inExperiment }),
      revision,
      flagMetadata,
    };
  }
}
