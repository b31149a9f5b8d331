import { PlatformError } from '@guidon/protocol';
import { insertIntoTable, powerOfTwoAbove } from './compile-operand.js';

/** Places that a look-up of the kernel walks at most, also for a name that is not there. */
export const PROBES_MAX = 64;
const ATTEMPTS = 4;

/**
 * Hash table (entry + 1 by hash, linear probing) in which no walk is long. Where names happen to crowd, a larger table tells them
 * apart; names whose whole hashes are the same were made to be so and are refused, so they slow nobody down but their author's
 * own change.
 */
export function hashTableOf(entries: readonly { readonly hash: number; readonly index: number }[]): Uint32Array {
  let count = powerOfTwoAbove(entries.length * 1.5);
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1, count *= 2) {
    const table = new Uint32Array(count);
    for (const { hash, index } of entries) insertIntoTable(table, hash, index + 1);
    if (longestRun(table) <= PROBES_MAX) return table;
  }
  throw new PlatformError('limit-exceeded', 'too many names of flags or attributes have the same hash');
}

/** Full places in a row, around the end too; as long as the table is never full this is what the longest walk sees. */
function longestRun(table: Uint32Array): number {
  let longest = 0;
  let run = 0;
  for (let at = 0; at < table.length * 2; at += 1) {
    run = table[at & (table.length - 1)] === 0 ? 0 : run + 1;
    if (run > longest) longest = run;
    if (longest > PROBES_MAX) break;
  }
  return longest;
}
