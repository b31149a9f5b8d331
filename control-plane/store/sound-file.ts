import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { PlatformError } from '@guidon/protocol';

const PAGE_BYTES = 4_096;
/** Where lmdb-js puts MDB_MAGIC in each of the two meta pages. */
const MAGIC_OFFSET = 24;
const MAGIC = 0xbeefc0de;

/**
 * What would crash the process or pass for an empty store when opened (M5): an empty file opens as a database without tenants, a cut
 * one ends in SIGBUS, one without meta pages in SIGSEGV. A file that is not there is a first start.
 */
export function assertSoundFile(path: string): void {
  const stat = statSync(path, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (stat.size < 2 * PAGE_BYTES || stat.size % PAGE_BYTES !== 0) {
    throw new PlatformError('storage-unavailable', `${path} is cut (${stat.size} bytes): restore it from a backup`);
  }
  const file = openSync(path, 'r');
  try {
    for (const pageOffset of [0, PAGE_BYTES]) {
      const magic = Buffer.alloc(4);
      readSync(file, magic, 0, 4, pageOffset + MAGIC_OFFSET);
      if (magic.readUInt32LE(0) !== MAGIC) {
        throw new PlatformError(
          'storage-unavailable',
          `${path} is not a store or is damaged: restore it from a backup`,
        );
      }
    }
  } finally {
    closeSync(file);
  }
}
