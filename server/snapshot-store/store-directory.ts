import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type pino from 'pino';
import { findDamage } from './store-pages.js';

const DATA_FILE = 'data.mdb';
/** Of one look at every page, in a child process. */
const PROBE_DEADLINE_MS = 20_000;
/** A probe that did not start or end is tried so often, so far apart. */
const PROBE_COUNT_MAX = 3;
const PROBE_SPACING_MS = 250;
/** Damaged stores kept for whoever wants to know why; the oldest goes. */
const DAMAGED_COUNT_MAX = 3;

export interface ProbeOptions {
  /** The program that runs the probe. */
  readonly execPath?: string;
  readonly deadlineMs?: number;
}

/** Where in a node's directory its store lies. */
export function storeDirectoryOf(dataDirectory: string): string {
  return join(dataDirectory, 'snapshots');
}

/**
 * Makes `directory` safe to open in this process. A damaged LMDB file ends the process that maps it (SIGBUS, SIGSEGV), which no catch can
 * stop (M5), so it is looked at from outside first: the layout of its pages here, then every row in a child process. A file that
 * fails is set aside by renaming and the node starts empty: it is rebuilt from the control plane. A probe that cannot be started or
 * is slow says nothing of the file: throwing the last good state away for it would turn a busy machine into an outage (I12).
 */
export async function prepareStoreDirectory(
  directory: string,
  logger: pino.Logger,
  options: ProbeOptions = {},
): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  if (!existsSync(join(directory, DATA_FILE))) return;
  const damage = findDamage(join(directory, DATA_FILE)) ?? (await probe(directory, logger, options));
  if (damage !== undefined) quarantineStore(directory, damage, logger);
}

/** Sets a damaged store aside, next to where it was, and leaves an empty directory. */
export function quarantineStore(directory: string, reason: string, logger: pino.Logger): void {
  const aside = `${directory}.damaged-${Date.now()}`;
  renameSync(directory, aside);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  forgetOldest(directory, logger);
  logger.error({ reason, aside }, 'the node store is damaged and was set aside; it is rebuilt from the control plane');
}

function forgetOldest(directory: string, logger: pino.Logger): void {
  const prefix = `${basename(directory)}.damaged-`;
  const damaged = readdirSync(dirname(directory))
    .filter((name) => name.startsWith(prefix))
    .sort((a, b) => Number(a.slice(prefix.length)) - Number(b.slice(prefix.length)));
  for (const name of damaged.slice(0, Math.max(0, damaged.length - DAMAGED_COUNT_MAX))) {
    try {
      rmSync(join(dirname(directory), name), { recursive: true, force: true });
    } catch (error) {
      logger.warn({ err: error, name }, 'an old damaged store cannot be removed');
    }
  }
}

/** Reads every row in a child process; whatever ends that one would have ended this one. */
async function probe(directory: string, logger: pino.Logger, options: ProbeOptions): Promise<string | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const { outcome, detail } = await probeOnce(directory, options);
    if (outcome === 'damaged') return detail;
    if (outcome === 'whole') return undefined;
    logger.warn({ detail, attempt }, 'the node store could not be probed');
    if (attempt === PROBE_COUNT_MAX) return undefined;
    await sleep(PROBE_SPACING_MS);
  }
}

interface ProbeResult {
  readonly outcome: 'whole' | 'damaged' | 'unknown';
  readonly detail: string;
}

function probeOnce(
  directory: string,
  { execPath = process.execPath, deadlineMs = PROBE_DEADLINE_MS }: ProbeOptions,
): Promise<ProbeResult> {
  return new Promise((resolve) => {
    const script = fileURLToPath(new URL('./store-probe.js', import.meta.url));
    let isOverdue = false;
    let timer: NodeJS.Timeout | undefined;
    const finish = (outcome: ProbeResult['outcome'], detail: string): void => {
      clearTimeout(timer);
      resolve({ outcome, detail });
    };
    try {
      const child = spawn(execPath, [script, directory], { stdio: 'ignore' });
      timer = setTimeout(() => {
        isOverdue = true;
        child.kill('SIGKILL');
      }, deadlineMs);
      child.once('error', (error) => finish('unknown', `it did not start: ${error.message}`));
      child.once('exit', (code, signal) => {
        // SIGKILL is not of LMDB's making: it is ours, or that of a machine without memory.
        if (isOverdue || signal === 'SIGKILL') finish('unknown', 'it was ended before it was through');
        else finish(code === 0 ? 'whole' : 'damaged', `reading it ended with ${signal ?? code}`);
      });
    } catch (error) {
      finish('unknown', `it did not start: ${error instanceof Error ? error.message : String(error)}`);
    }
  });
}
