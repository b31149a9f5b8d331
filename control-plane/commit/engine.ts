import {
  type CompiledEnvironment,
  checkFlagSet,
  compileSnapshot,
  type Definition,
  decodeDefinition,
  definitionKey,
  encodeDefinition,
  type FlagSet,
} from '@guidon/engine';
import { type EnvironmentRef, type Issue, LIMITS } from '@guidon/protocol';

/** The one place where the control plane names the engine: what is written, and the compiler that every change must pass first. */
export { type CompiledEnvironment, type Definition, decodeDefinition, definitionKey, encodeDefinition, type FlagSet };

/**
 * Everything a node would refuse in this flag set: each check it makes is made here with the same code and limits (I9, I11). `changed` are
 * the definitions that `previous` was not made of.
 */
export function checkOnCompiler(
  flagSet: FlagSet,
  changed: readonly Definition[],
  options: { environment: EnvironmentRef; revision: number; previous?: CompiledEnvironment | undefined },
): { compiled: CompiledEnvironment | undefined; issues: readonly Issue[] } {
  const { environment, revision, previous } = options;
  const found = checkFlagSet(flagSet, new Set(changed));
  if (found.length > 0) return { compiled: undefined, issues: found };
  const { compiled, issues } = compileSnapshot(flagSet, {
    environment,
    revision,
    ...(previous === undefined ? {} : { previous }),
  });
  if (compiled === undefined) return { compiled, issues };
  const { root, blocks } = compiled.snapshot;
  let snapshotBytes = root.length;
  for (const block of blocks.values()) snapshotBytes += block.length;
  if (snapshotBytes <= LIMITS.snapshotBytes) return { compiled, issues };
  const detail = `compiled, this environment takes ${snapshotBytes} bytes; at most ${LIMITS.snapshotBytes} are served`;
  return { compiled: undefined, issues: [{ pointer: '', code: 'limit-exceeded', detail }] };
}
