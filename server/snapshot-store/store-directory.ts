import { spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, mkdirSync, openSync, readSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type pino from 'pino';

const DATA_FILE = 'data.mdb';
const PAGE_BYTES = 4096;
/** Of one look at every page, in a child process. */
const PROBE_DEADLINE_MS = 20_000;

/**
 * Makes `directory` safe to open in this process. A damaged LMDB file ends the process that maps it (SIGBUS, SIGSEGV), which no catch can
 * stop (M5), so it is looked at from outside first: sizes and meta pages here, then every page in a child process. A file that
 * fails is set aside by renaming and the node starts empty: it is rebuilt from the control plane.
 */
export async function prepareStoreDirectory(directory: string, logger: pino.Logger): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!existsSync(join(directory, DATA_FILE))) return;
  const damage = findDamage(join(directory, DATA_FILE)) ?? (await probe(directory));
  if (damage !== undefined) quarantineStore(directory, damage, logger);
}

/** Sets a damaged store aside, next to where it was, and leaves an empty directory. */
export function quarantineStore(directory: string, reason: string, logger: pino.Logger): void {
  const aside = `${directory}.damaged-${Date.now()}`;
  renameSync(directory, aside);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  logger.error({ reason, aside }, 'the node store is damaged and was set aside; it is rebuilt from the control plane');
}

/** What the two meta pages and the size say; see LMDB's MDB_meta, 24 bytes of page header before it. */
function findDamage(path: string): string | undefined {
  const file = openSync(path, 'r');
  try {
    const fileBytes = fstatSync(file).size;
    if (fileBytes === 0) return 'the file is empty';
    if (fileBytes % PAGE_BYTES !== 0 || fileBytes < 2 * PAGE_BYTES) return 'the file is cut';
    let newest = { transaction: -1n, lastPage: 0n };
    for (const page of [0, 1]) {
      const meta = Buffer.alloc(160);
      readSync(file, meta, 0, meta.length, page * PAGE_BYTES);
      if (meta.readUInt32LE(24) !== 0xbeefc0de) return `meta page ${page} is not one`;
      if (meta.readUInt32LE(48) !== PAGE_BYTES) return `meta page ${page} names another page size`;
      const transaction = meta.readBigUInt64LE(152);
      if (transaction > newest.transaction) newest = { transaction, lastPage: meta.readBigUInt64LE(144) };
    }
    return (newest.lastPage + 1n) * BigInt(PAGE_BYTES) > BigInt(fileBytes) ? 'pages are missing at the end' : undefined;
  } finally {
    closeSync(file);
  }
}

/** Reads every row in a child process; whatever ends that one would have ended this one. */
function probe(directory: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const script = fileURLToPath(new URL('./store-probe.js', import.meta.url));
    const child = spawn(process.execPath, [script, directory], { stdio: 'ignore' });
    const timer = setTimeout(() => child.kill('SIGKILL'), PROBE_DEADLINE_MS);
    child.once('error', (error) => finish(`the probe did not start: ${error.message}`));
    child.once('exit', (code, signal) => finish(code === 0 ? undefined : `reading it ended with ${signal ?? code}`));
    function finish(damage: string | undefined): void {
      clearTimeout(timer);
      resolve(damage);
    }
  });
}
