import { type CompiledEnvironment, checkFlagSet, compileSnapshot } from '@guidon/engine';
import { type Issue, LIMITS } from '@guidon/protocol';
import type { Applied } from './apply-change.js';
import type { CompileRequest } from './compile-task.js';
import type { SmokeKernel } from './smoke-evaluation.js';
import type { WorkerState } from './worker-state.js';

/** Checks, compiles, verifies and evaluates everything an environment is to serve; what `from` holds compiled is not compiled again. */
export async function compileWhole(
  kernel: SmokeKernel,
  { environment, revision }: Pick<CompileRequest, 'environment' | 'revision'>,
  { state, definitions }: Exclude<Applied, { issues: unknown }>,
  from: WorkerState | undefined,
): Promise<{ readonly compiled?: CompiledEnvironment; readonly issues: readonly Issue[] }> {
  const setIssues = checkFlagSet(state.flagSet, from === undefined ? undefined : definitions);
  if (setIssues.length > 0) return { issues: setIssues };
  const { compiled, issues } = compileSnapshot(state.flagSet, {
    environment,
    revision,
    ...(from?.compiled === undefined ? {} : { previous: from.compiled }),
  });
  if (compiled === undefined) return { issues };
  const refused = sizeIssue(compiled) ?? (await kernel.findIssue(compiled.snapshot, state.flagSet));
  return refused === undefined ? { compiled, issues } : { issues: [refused] };
}

/** I11: the same bound as where it is written, also against an honest compiler gone wrong. */
function sizeIssue({ snapshot }: CompiledEnvironment): Issue | undefined {
  let bytes = snapshot.root.length;
  for (const block of snapshot.blocks.values()) bytes += block.length;
  if (bytes <= LIMITS.snapshotBytes) return undefined;
  return { pointer: '', code: 'limit-exceeded', detail: `the snapshot has ${bytes} bytes` };
}
