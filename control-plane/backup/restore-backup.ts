import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, linkSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PlatformError, settlesWithin } from '@guidon/protocol';
import { SigningKeys } from '../signing-keys/signing-keys.js';
import { STORE_OPTIONS } from '../store/control-store.js';
import { DATA_FILE, syncDirectory } from '../store/data-file.js';
import { keys } from '../store/keys.js';
import { encodeRecord } from '../store/record-codec.js';
import { WriterLock } from '../store/writer-lock.js';
import { readBackupRows } from './backup-file.js';
import type { RestorationRow } from './raise-epochs.js';
import type { VerifiedBackup } from './verify-backup.js';

const lmdb = createRequire(import.meta.url)('lmdb') as typeof import('lmdb');

/** How far the epoch is raised when nobody can say which restores have been since the backup. */
export const EPOCH_STEP_UNKNOWN = 10;
/** Rows of one transaction: what it writes waits in memory. */
const ROWS_PER_TRANSACTION = 20_000;
const CLOSE_DEADLINE_MS = 5_000;
const EPOCH_READER = fileURLToPath(new URL('./read-epoch.js', import.meta.url));

/** Which files of `keys/` there will be after a restore. */
export interface KeyFindings {
  /** In the backup and not in the directory: written there. */
  readonly restored: readonly string[];
  /** Neither here nor there. */
  readonly missing: readonly string[];
}

export interface RestoreReport {
  /** What every environment's epoch is raised to when the control plane starts. */
  readonly epoch: number;
  /** Where the data file that was there is kept; undefined when there was none. */
  readonly keptAt: string | undefined;
}

/**
 * What a restore into `dataDirectory` would mean for its keys. Throws `conflict` when they are those of another installation, or when they
 * say that the key which signed the backup is not to be trusted any more.
 */
export function findKeys(dataDirectory: string, { header }: VerifiedBackup): KeyFindings {
  const directory = join(dataDirectory, 'keys');
  const present = SigningKeys.read(directory);
  if (present !== undefined && present.rootPublicKey !== header.rootPublicKey) {
    throw new PlatformError(
      'conflict',
      `${directory} has the keys of another installation than the backup's: restore into a directory of its own`,
    );
  }
  const isOlder = present !== undefined && present.version < header.keySetVersion;
  if (present !== undefined && !isOlder && !present.list().some(({ keyId }) => keyId === header.keyId)) {
    throw new PlatformError('conflict', `the key ${header.keyId}, which signed the backup, has been revoked since`);
  }
  const names = [...header.leftOut, ...Object.keys(header.keys)];
  const absent = names.filter((name) => !existsSync(join(directory, name)));
  return {
    restored: absent.filter((name) => header.keys[name] !== undefined),
    missing: absent.filter((name) => header.keys[name] === undefined),
  };
}

/**
 * Puts the rows of a verified backup in the place of the store below `dataDirectory`; its data file is exchanged by one rename, so that a kill
 * leaves the old store or the new one. Nobody may have the directory open. Epochs are raised by the control plane's next start (raise-epochs.ts),
 * which has the keys to sign them. `epochAbove`: an epoch that nodes have seen.
 */
export async function restoreBackup(
  path: string,
  dataDirectory: string,
  backup: VerifiedBackup,
  options: { readonly epochAbove: number; readonly now: number },
): Promise<RestoreReport> {
  const { restored } = findKeys(dataDirectory, backup);
  const directory = join(dataDirectory, 'store');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const lock = new WriterLock(directory);
  try {
    const target = join(directory, DATA_FILE);
    const epoch = nextEpoch(target, directory, backup.highestEpoch, options.epochAbove);
    const beside = join(directory, 'new');
    rmSync(beside, { recursive: true, force: true });
    mkdirSync(beside, { mode: 0o700 });
    await writeRows(path, beside, { epoch, madeAt: backup.header.madeAt, restoredAt: options.now });
    restoreKeys(dataDirectory, backup, restored);
    const keptAt = keepAside(target, dataDirectory, options.now);
    exchangeDataFile(join(beside, DATA_FILE), directory);
    rmSync(beside, { recursive: true });
    return { epoch, keptAt };
  } finally {
    lock.release();
  }
}

/** Moves a closed data file into the place of the one in `directory`, in one step. The table of readers of the old one goes with it. */
export function exchangeDataFile(from: string, directory: string): void {
  renameSync(from, join(directory, DATA_FILE));
  rmSync(join(directory, 'lock.mdb'), { force: true });
  syncDirectory(directory);
}

async function writeRows(path: string, beside: string, restoration: RestorationRow): Promise<void> {
  const database = lmdb.open<Buffer>({ path: beside, ...STORE_OPTIONS });
  let batch: [key: (string | number)[], value: Buffer][] = [];
  const commit = (): Promise<void> =>
    database.childTransaction(() => {
      for (const [key, value] of batch) database.putSync(key, value);
    });
  for (const { key, value } of readBackupRows(path)) {
    batch.push([[...key], value]);
    if (batch.length < ROWS_PER_TRANSACTION) continue;
    await commit();
    batch = [];
  }
  batch.push([keys.restoration(), encodeRecord(restoration)]);
  await commit();
  await settlesWithin(database.close(), CLOSE_DEADLINE_MS);
}

/** Above everything that nodes can have seen: the backup's, what the store that is replaced has, and what the operator knows. */
function nextEpoch(target: string, directory: string, inBackup: number, epochAbove: number): number {
  // A damaged data file ends the process that opens it (M5): another one looks.
  const answer = existsSync(target)
    ? spawnSync(process.execPath, [EPOCH_READER, directory], { encoding: 'utf8', timeout: 60_000 })
    : undefined;
  const inStore = answer?.status === 0 ? Number(answer.stdout) : undefined;
  const seen = Math.max(inBackup, epochAbove, inStore ?? 0);
  return seen + (inStore === undefined && epochAbove === 0 ? EPOCH_STEP_UNKNOWN : 1);
}

function restoreKeys(dataDirectory: string, { header }: VerifiedBackup, names: readonly string[]): void {
  const directory = join(dataDirectory, 'keys');
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  for (const name of names) {
    const content = Buffer.from(header.keys[name] ?? '', 'base64');
    writeFileSync(join(directory, name), content, { mode: 0o600, flush: true, flag: 'wx' });
  }
  syncDirectory(directory);
}

function keepAside(target: string, dataDirectory: string, now: number): string | undefined {
  if (!existsSync(target)) return undefined;
  const folder = join(dataDirectory, `before-restore-${new Date(now).toISOString().replace(/[:.]/g, '-')}`);
  mkdirSync(folder, { mode: 0o700 });
  const kept = join(folder, DATA_FILE);
  try {
    linkSync(target, kept);
  } catch {
    // A file system without hard links: a copy takes longer and does the same.
    copyFileSync(target, kept);
  }
  syncDirectory(folder);
  return kept;
}
