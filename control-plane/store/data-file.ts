import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';

/** lmdb's name for the file that holds everything, in the store's directory. */
export const DATA_FILE = 'data.mdb';

/**
 * Makes the first data file beside its place and moves it there whole. lmdb makes it empty and then fills it: a disk that is full just then ends
 * the process (SIGSEGV), and an empty file is refused ever after as one that was cut (M5, I13).
 */
export async function makeDataFile(directory: string, makeIn: (path: string) => Promise<void>): Promise<void> {
  const target = join(directory, DATA_FILE);
  const beside = join(directory, 'new');
  rmSync(beside, { recursive: true, force: true });
  if (existsSync(target)) return;
  mkdirSync(beside, { mode: 0o700 });
  await makeIn(beside);
  renameSync(join(beside, DATA_FILE), target);
  syncDirectory(directory);
  rmSync(beside, { recursive: true });
}

/** What was made or renamed in it survives a power cut from here on. */
export const syncDirectory = (directory: string): void => syncFile(directory);

export function syncFile(path: string): void {
  const handle = openSync(path, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}
