import { ReferenceEvaluation } from '@guidon/engine';
import { applyChange } from './apply-change.js';
import type { PackedStep, ReplayAnswer, ReplayRequest } from './compile-task.js';
import type { WorkerState } from './worker-state.js';

/** The worker's side of CompilePool.replay(). `changed` are the definitions of all steps behind one another. */
export function replay(
  request: Omit<ReplayRequest, 'steps'> & { readonly steps: readonly PackedStep[] },
  changed: readonly Uint8Array[],
): ReplayAnswer {
  const context: unknown = JSON.parse(request.context);
  let state: WorkerState | undefined;
  let offset = 0;
  const steps = request.steps.map(({ changedCount, removed }) => {
    const applied = applyChange(state, changed.slice(offset, offset + changedCount), removed);
    if ('issues' in applied) throw new Error('definitions that were in force do not parse');
    offset += changedCount;
    state = applied.state;
    const evaluation = new ReferenceEvaluation(state.flagSet, context, { now: request.now });
    return request.flags.map((flag) => (request.isExplained ? evaluation.explain(flag) : evaluation.evaluate(flag)));
  });
  return { status: 'replayed', steps: JSON.stringify(steps) };
}
