import { openEnvironment } from './lmdb-environment.js';

/** Run as a process of its own by store-directory.ts: touches every page of the store, so that damage ends this process and no other. */
const [directory] = process.argv.slice(2);
if (directory === undefined) throw new Error('usage: store-probe <directory>');
const database = openEnvironment(directory, { readOnly: true });
let checksum = 0;
for (const { value } of database.getRange({ snapshot: true })) {
  const bytes: unknown = value;
  if (!(bytes instanceof Uint8Array)) throw new Error('a row is not binary');
  for (let offset = 0; offset < bytes.length; offset += 4096) checksum ^= bytes[offset] ?? 0;
}
await database.close();
// A process that LMDB broke without ending it must not look healthy: nothing may be left to run.
process.exitCode = Number.isInteger(checksum) ? 0 : 1;
