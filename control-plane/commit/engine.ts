import type { FlagSet } from '@guidon/engine/flag-model/definitions.js';
import type { EnvironmentRef, Issue } from '@guidon/protocol';

/** The one place where the control plane names the engine: what is written, and the compiler that every change must pass first. */
export type { Definition, FlagSet } from '@guidon/engine/flag-model/definitions.js';
export { definitionKey } from '@guidon/engine/flag-model/definitions.js';
export type CompiledSnapshot = object;
export function compileSnapshot(
  _flagSet: FlagSet,
  _options: { environment: EnvironmentRef; revision: number; previous?: CompiledSnapshot },
): { compiled?: CompiledSnapshot; issues: readonly Issue[] } {
  return { compiled: {}, issues: [] };
}
export const encodeDefinition = (definition: unknown): Uint8Array => Buffer.from(JSON.stringify(definition));
