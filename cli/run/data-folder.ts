import { accessSync, constants, existsSync, mkdirSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { PlatformError } from '@guidon/protocol';

/** The absolute path of `--data`, made when absent; throws a sentence when nothing can be kept there. */
export function prepareDataFolder(data: string): string {
  const folder = resolve(data);
  try {
    makeFolder(folder);
    accessSync(folder, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? String(cause.code) : 'unknown';
    throw new PlatformError(
      'validation-failed',
      `--data ${data} cannot be made or written (${code}): give a folder on a disk of this machine that this user may write`,
      { cause },
    );
  }
  return folder;
}

/** Level by level: Node's own recursion never comes back where the system has folders that cannot be made, such as /proc. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  const parent = dirname(folder);
  if (parent !== folder) makeFolder(parent);
  try {
    mkdirSync(folder);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
  }
}
