import { type FlagSet, InProcessEvaluator, ReferenceEvaluation, type Result } from '@guidon/engine';
import { evaluateInKernel } from './kernel-evaluator.js';

export interface EvaluatorOptions {
  /** Epoch milliseconds. */
  readonly now: number;
  readonly clientSideOnly: boolean;
}

/** Answers one flag for one context, as decoded from JSON. */
export type Evaluator = (
  flagSet: FlagSet,
  flag: string,
  context: unknown,
  options: EvaluatorOptions,
) => Result | Promise<Result>;

/** Everything that evaluates. Each must give the same answer to every vector, bit for bit. */
export const EVALUATORS: Readonly<Record<string, Evaluator>> = {
  reference: (flagSet, flag, context, options) => new ReferenceEvaluation(flagSet, context, options).evaluate(flag),
  kernel: evaluateInKernel,
  'kernel in JSON': (flagSet, flag, context, options) => evaluateInKernel(flagSet, flag, context, options, 'json'),
  'in-process': evaluateInProcess,
};

const evaluators = new WeakMap<FlagSet, InProcessEvaluator>();

function evaluateInProcess(flagSet: FlagSet, flag: string, context: unknown, options: EvaluatorOptions): Result {
  const evaluator = evaluators.get(flagSet) ?? new InProcessEvaluator(flagSet);
  evaluators.set(flagSet, evaluator);
  return evaluator.evaluate(flag, context, options);
}
