import { closeSync, existsSync, fstatSync, openSync, readSync, statSync, truncateSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { SeededRandom } from './seeded-random.js';

/** What can happen to a node's store while nobody has it open (M5). */
export type DamageKind = 'corrupted' | 'zeroed' | 'cut';
/** Where: LMDB's two meta pages are `header` and `meta`; a change may lie anywhere behind them. */
export type DamagePlace = 'header' | 'meta' | 'middle' | 'tail' | 'random';

export const DAMAGE_KINDS: readonly DamageKind[] = ['corrupted', 'zeroed', 'cut'];
export const DAMAGE_PLACES: readonly DamagePlace[] = ['header', 'meta', 'middle', 'tail', 'random'];

const PAGE_BYTES = 4_096;
const DAMAGED_BYTES_MAX = 2_048;

/** Of a node's data folder. */
export const storeFileOf = (folder: string): string => join(folder, 'snapshots', 'data.mdb');

/** Says what was done, for the log; undefined when there is no store. */
export function damageStore(
  folder: string,
  kind: DamageKind,
  place: DamagePlace,
  random: SeededRandom,
): string | undefined {
  const path = storeFileOf(folder);
  if (!existsSync(path)) return undefined;
  const fileBytes = statSync(path).size;
  const offset = offsetOf(place, fileBytes, random);
  if (kind === 'cut') truncateSync(path, offset);
  else overwrite(path, offset, random.between(1, DAMAGED_BYTES_MAX), kind, random);
  return `${kind} at ${offset} (${place}) of ${fileBytes}`;
}

function offsetOf(place: DamagePlace, fileBytes: number, random: SeededRandom): number {
  const within = (from: number, to: number): number => random.between(from, Math.max(from, to - 1));
  switch (place) {
    case 'header':
      return within(0, 64);
    case 'meta':
      return within(0, 2 * PAGE_BYTES);
    case 'middle':
      return within(Math.floor(fileBytes / 4), Math.floor((3 * fileBytes) / 4));
    case 'tail':
      return within(fileBytes - PAGE_BYTES, fileBytes);
    case 'random':
      return within(0, fileBytes);
  }
}

/** Never past the end: the file keeps its size. Every byte is another one than before. */
function overwrite(path: string, offset: number, count: number, kind: DamageKind, random: SeededRandom): void {
  const file = openSync(path, 'r+');
  try {
    const bytes = Buffer.alloc(Math.min(count, fstatSync(file).size - offset));
    readSync(file, bytes, 0, bytes.length, offset);
    for (let index = 0; index < bytes.length; index += 1) {
      bytes[index] = kind === 'zeroed' ? 0 : (bytes[index] ?? 0) ^ random.between(1, 255);
    }
    writeSync(file, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(file);
  }
}
