import type { EvaluateOptions, KernelAnswer } from '@guidon/engine';
import { EvaluationPool, type EvaluationPoolOptions, type PooledAnswer } from '@guidon/pool';
import type pino from 'pino';
import type { AnswerHeads, EnvironmentSlot } from './environment-slot.js';
import { refuseWhenFull, type SnapshotKernel } from './snapshot-kernel.js';

export interface PooledEvaluationRequest<Used> {
  readonly slot: EnvironmentSlot;
  /** Borrowed until evaluate() returns. */
  readonly body: Uint8Array;
  /** Asked when the evaluation starts. */
  readonly options: () => EvaluateOptions;
  readonly signal: AbortSignal;
  /** Called once, with the headers of the revision that was evaluated. `copyBody` is for what has to be asked again. */
  readonly use: (answer: LateAnswer, heads: AnswerHeads, copyBody: () => Uint8Array) => Used;
}

/**
 * `cold`: the environment left kernel memory while the request waited. `trapped`: ERROR for every flag asked; `isOverrun`: the time was over, which
 * says as much about the machine as about the flags.
 */
export type LateAnswer =
  | KernelAnswer
  | { readonly status: 'cold' }
  | { readonly status: 'trapped'; readonly isOverrun?: boolean };

/**
 * Evaluates in workers what may take too long for the serving thread, on the snapshot that serves when a worker is free. A kernel that traps
 * there counts against the revision as one that traps here does (I10); a call over its deadline does not, for it says as much about the
 * request as about the flags.
 */
export class PooledEvaluation {
  readonly pool: EvaluationPool;
  /** Requests that the serving thread and the workers answered or refused. */
  readonly counters = { inline: 0, pooled: 0 };
  readonly #kernel: SnapshotKernel;
  readonly #logger: pino.Logger;

  constructor(kernel: SnapshotKernel, logger: pino.Logger, options: EvaluationPoolOptions = {}) {
    this.#kernel = kernel;
    this.#logger = logger;
    this.pool = new EvaluationPool(kernel.memory, options);
  }

  /** Rejects with `overloaded` when too many wait or the memory is full, and `timeout` when nobody waits any more. */
  evaluate<Used>({ slot, body, options, signal, use }: PooledEvaluationRequest<Used>): Promise<Used> {
    let heads = slot.answerHeads;
    return this.pool.evaluate({
      tenantId: slot.environment.tenantId,
      body,
      signal,
      open: () => {
        const { active } = slot;
        if (active === undefined) return undefined;
        slot.touch();
        heads = slot.answerHeads;
        return { resident: active.resident, options: options() };
      },
      use: (answer, copyBody) => use(this.#late(slot, answer), heads, copyBody),
    });
  }

  #late(slot: EnvironmentSlot, answer: PooledAnswer): LateAnswer {
    if (answer.status === 'trapped') {
      this.#kernel.reportTrap(slot, answer.cause);
      return { status: 'trapped' };
    }
    if (answer.status === 'overran') {
      this.#logger.warn({ environment: slot.environment }, 'an evaluation took too long');
      return { status: 'trapped', isOverrun: true };
    }
    if (answer.status !== 'cold') refuseWhenFull(answer);
    return answer;
  }

  close(): Promise<void> {
    return this.pool.close();
  }
}
