import { type CompiledEnvironment, compileSnapshot } from '@guidon/engine';
import { type Issue, LIMITS } from '@guidon/protocol';
import type { CompileRequest } from './compile-task.js';
import type { SmokeKernel } from './smoke-evaluation.js';
import type { WorkerState } from './worker-state.js';

/** Checks, compiles, verifies and evaluates everything an environment is to serve; what `from` holds compiled is not compiled again. */
export async function compileWhole(
  kernel: SmokeKernel,
  { environment, revision }: Pick<CompileRequest, 'environment' | 'revision'>,
  { flagSet }: Pick<WorkerState, 'flagSet'>,
  from: WorkerState | undefined,
): Promise<{ readonly compiled?: CompiledEnvironment; readonly issues: readonly Issue[] }> {
  const { compiled, issues } = compileSnapshot(flagSet, {
    environment,
    revision,
    ...(from?.compiled === undefined ? {} : { previous: from.compiled }),
  });
  if (compiled === undefined) return { issues };
  const refused = sizeIssue(compiled) ?? (await kernel.findIssue(compiled.snapshot, flagSet));
  return refused === undefined ? { compiled, issues } : { issues: [refused] };
}

/** I11: the same bound as where it is written, also against an honest compiler gone wrong. */
function sizeIssue({ snapshot }: CompiledEnvironment): Issue | undefined {
  let bytes = snapshot.root.length;
  for (const block of snapshot.blocks.values()) bytes += block.length;
  if (bytes <= LIMITS.snapshotBytes) return undefined;
  return { pointer: '', code: 'limit-exceeded', detail: `the snapshot has ${bytes} bytes` };
}
