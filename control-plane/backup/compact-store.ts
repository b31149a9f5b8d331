import { existsSync, mkdirSync, rmSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PlatformError } from '@guidon/protocol';
import { STORE_OPTIONS } from '../store/control-store.js';
import { DATA_FILE, syncFile } from '../store/data-file.js';
import { assertSoundFile } from '../store/sound-file.js';
import { WriterLock } from '../store/writer-lock.js';
import { exchangeDataFile } from './restore-backup.js';

const lmdb = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');

/**
 * Writes the store below `dataDirectory` anew without the pages that nothing uses, and exchanges the file by one rename: a kill leaves the old file or
 * the new one. Nobody may have the directory open: LMDB's file never shrinks by itself (M7), nor under a process that maps it.
 */
export async function compactStore(dataDirectory: string): Promise<{ bytesBefore: number; bytesAfter: number }> {
  const directory = join(dataDirectory, 'store');
  const target = join(directory, DATA_FILE);
  if (!existsSync(target)) throw new PlatformError('not-found', `${dataDirectory} holds no store of a control plane`);
  const lock = new WriterLock(directory);
  try {
    assertSoundFile(target);
    const beside = join(directory, 'new');
    rmSync(beside, { recursive: true, force: true });
    mkdirSync(beside, { mode: 0o700 });
    const database = lmdb.open<Buffer>({ path: directory, ...STORE_OPTIONS, readOnly: true });
    await database.backup(beside, true);
    await database.close();
    const bytesBefore = statSync(target).size;
    syncFile(join(beside, DATA_FILE));
    exchangeDataFile(join(beside, DATA_FILE), directory);
    rmSync(beside, { recursive: true });
    return { bytesBefore, bytesAfter: statSync(target).size };
  } finally {
    lock.release();
  }
}
