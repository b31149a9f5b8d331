import type { EvaluationOptions, FlagSet, InProcessEvaluator } from '@guidon/engine/in-process';
import type { Position } from '@guidon/protocol/live-updates';
import type { FlagMetadata } from '@guidon/sdk-core';

/** Who says that these are the flags. `local`: the program, or a file of its own. */
export type ServingOrigin = 'node' | 'disk' | 'local';

/** What a revision is made of. Several clients may share it (DefinitionSet). */
export interface ServedFlags {
  readonly flagSet: FlagSet;
  readonly evaluator: InProcessEvaluator;
  /** Some flag or segment asks for `@now`. */
  readonly readsClock: boolean;
}

/** One revision as one client evaluates it; replaced as a whole. */
export class Serving implements Position {
  readonly flagSet: FlagSet;
  readonly epoch: number;
  readonly revision: number;
  readonly flagMetadata: FlagMetadata;
  readonly evaluator: InProcessEvaluator;
  readonly #readsClock: boolean;

  constructor(
    { flagSet, evaluator, readsClock }: ServedFlags,
    { epoch, revision, environmentId }: Position & { readonly environmentId?: string },
  ) {
    this.flagSet = flagSet;
    this.epoch = epoch;
    this.revision = revision;
    this.flagMetadata = Object.freeze({
      ...(environmentId === undefined ? {} : { flagSetId: environmentId }),
      version: `${epoch}.${revision}`,
    });
    this.evaluator = evaluator;
    this.#readsClock = readsClock;
  }

  /** The clock is read only where a flag asks for it: reading it costs a tenth of an evaluation (bench:sdk, W1). */
  get options(): EvaluationOptions {
    return this.#readsClock ? { now: Date.now() } : CLOCKLESS;
  }
}

const CLOCKLESS: EvaluationOptions = Object.freeze({ now: 0 });
