import type { Bootstrap, EvaluatedFlag } from './browser-client.js';
import { FlagGetters, type Found } from './flag-getters.js';

/** The flags of a bootstrap, as they were. Reading them is no use of them: nobody has seen the page yet, or it has been seen before. */
export class RenderedFlags extends FlagGetters {
  readonly #results: ReadonlyMap<string, EvaluatedFlag>;
  readonly #found: Omit<Found, 'result'>;

  constructor(bootstrap: Bootstrap | undefined) {
    super();
    this.#results = new Map(bootstrap?.results.map((result) => [result.flag, result]));
    this.#found = { isReady: bootstrap !== undefined, revision: bootstrap?.revision ?? 0, flagMetadata: {} };
  }

  protected override find(flagKey: string): Found {
    return { ...this.#found, result: this.#results.get(flagKey) };
  }

  protected override used(): void {
    // Nobody is told.
  }
}
