import { type EvaluationOptions, type FlagSet, InProcessEvaluator } from '@guidon/engine/in-process';
import type { Position } from '@guidon/protocol/live-updates';
import type { FlagMetadata } from '@guidon/sdk-core';

/** Who says that these are the flags. `local`: the program, or a file of its own. */
export type ServingOrigin = 'node' | 'disk' | 'local';

/** One revision as it is evaluated; replaced as a whole. */
export class Serving implements Position {
  readonly flagSet: FlagSet;
  readonly epoch: number;
  readonly revision: number;
  readonly flagMetadata: FlagMetadata;
  readonly evaluator: InProcessEvaluator;
  readonly #readsClock: boolean;

  constructor(
    flagSet: FlagSet,
    { epoch, revision, environmentId }: Position & { readonly environmentId?: string },
    { readsClock, previous }: { readonly readsClock: boolean; readonly previous?: Serving | undefined },
  ) {
    this.flagSet = flagSet;
    this.epoch = epoch;
    this.revision = revision;
    this.flagMetadata = Object.freeze({
      ...(environmentId === undefined ? {} : { flagSetId: environmentId }),
      version: `${epoch}.${revision}`,
    });
    this.evaluator = new InProcessEvaluator(flagSet, previous?.evaluator);
    this.#readsClock = readsClock;
  }

  /** The clock is read only where a flag asks for it: reading it costs a tenth of an evaluation (bench:sdk, W1). */
  get options(): EvaluationOptions {
    return this.#readsClock ? { now: Date.now() } : CLOCKLESS;
  }
}

const CLOCKLESS: EvaluationOptions = Object.freeze({ now: 0 });
