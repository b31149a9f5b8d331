import type { Json } from '@guidon/protocol';
import type { FlagDefinition } from '../flag-model/definitions.js';
import type { EvaluationErrorCode, Result, ServedResult } from '../flag-model/result.js';

/** Makes the results of one flag: frozen through and through, for every context that gets one gets the same object. */
export class ResultMaker {
  readonly #flag: string;
  readonly #values: ReadonlyMap<string, Json>;

  constructor({ key, variations }: FlagDefinition) {
    this.#flag = key;
    this.#values = new Map(variations.map((variation) => [variation.key, frozenCopy(variation.value)]));
  }

  served(
    variation: string,
    reason: ServedResult['reason'],
    more: Pick<ServedResult, 'ruleId' | 'prerequisite' | 'inExperiment'> = {},
  ): Result {
    const value = this.#values.get(variation);
    // A dangling variation is refused when loaded.
    if (value === undefined) return this.error('PARSE_ERROR');
    return Object.freeze({ flag: this.#flag, value, variation, reason, ...more });
  }

  error(errorCode: EvaluationErrorCode): Result {
    return Object.freeze({ flag: this.#flag, reason: 'ERROR', errorCode });
  }
}

/** Definitions belong to the caller and stay as they are. */
function frozenCopy(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return Object.freeze(value.map(frozenCopy)) as Json;
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([name, member]) => [name, frozenCopy(member)])));
}
