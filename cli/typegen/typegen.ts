import { writeFileSync } from 'node:fs';
import { type Json, PlatformError } from '@guidon/protocol';
import { clientOf, itemsOf, type ProjectOptions, projectPath } from '../options/control-plane-options.js';
import { flagTypesText, type TypedFlag } from './flag-types-text.js';

export interface TypegenOptions extends ProjectOptions {
  readonly output: string;
}

/** `guidon typegen`: the flags of a project, which all of its environments share, as types for the SDKs. Resolves with the exit status. */
export async function runTypegen(options: TypegenOptions): Promise<number> {
  const flags: TypedFlag[] = [];
  for await (const item of itemsOf(clientOf(options), `${projectPath(options)}/flags`)) flags.push(typedFlagOf(item));
  try {
    writeFileSync(options.output, flagTypesText(flags));
  } catch (cause) {
    throw new PlatformError('validation-failed', `--output: ${options.output} cannot be written`, { cause });
  }
  console.log(`${options.output}: ${flags.length} flags`);
  return 0;
}

function typedFlagOf(item: ReadonlyMap<string, unknown>): TypedFlag {
  const key = item.get('key');
  const type = item.get('type');
  const variations = item.get('variations');
  if (typeof key !== 'string' || typeof type !== 'string' || !Array.isArray(variations)) {
    throw new PlatformError('internal', 'the admin API’s answer holds something that is no flag');
  }
  const valueSchema = item.get('valueSchema');
  // Of JSON text: whatever they are, they are JSON.
  return { key, type, variations, ...(valueSchema === undefined ? {} : { valueSchema: valueSchema as Json }) };
}
