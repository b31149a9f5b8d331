import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const PAGE_BYTES = 4_096;

/**
 * Makes the data file what a disk may hold after the power went: what was synced (the shim's image) and, of the pages written since, any.
 * `keep` decides for each of those.
 */
export function cutPower(storeDirectory: string, image: string, keep: () => boolean): { keptCount: number } {
  const written = readFileSync(join(storeDirectory, 'data.mdb'));
  const synced = readFileSync(image);
  const survived = Buffer.alloc(Math.max(written.length, synced.length));
  synced.copy(survived);
  let end = synced.length;
  let keptCount = 0;
  for (let offset = 0; offset < written.length; offset += PAGE_BYTES) {
    const page = written.subarray(offset, offset + PAGE_BYTES);
    if (offset < synced.length && synced.subarray(offset, offset + PAGE_BYTES).equals(page)) continue;
    if (!keep()) continue;
    page.copy(survived, offset);
    end = Math.max(end, offset + page.length);
    keptCount += 1;
  }
  writeFileSync(join(storeDirectory, 'data.mdb'), survived.subarray(0, end));
  return { keptCount };
}
