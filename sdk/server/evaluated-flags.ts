import type { Result } from '@guidon/engine/in-process';
import type { Position } from '@guidon/protocol/live-updates';
import type { JsonObject } from '@guidon/sdk-core';
import type { AllFlags } from './client.js';

/** `values` are made when they are asked for: who takes the results alone does not pay for them (bench:sdk, W3). As JSON it has the results alone. */
export class EvaluatedFlags implements AllFlags {
  readonly epoch: number;
  readonly revision: number;
  readonly results: readonly Result[];

  constructor({ epoch, revision }: Position, results: readonly Result[]) {
    this.epoch = epoch;
    this.revision = revision;
    this.results = results;
  }

  get values(): JsonObject {
    return Object.fromEntries(
      this.results.flatMap((result) => (result.reason === 'ERROR' ? [] : [[result.flag, result.value] as const])),
    );
  }
}
