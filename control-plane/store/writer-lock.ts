import { closeSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { PlatformError } from '@guidon/protocol';

/**
 * Says early and clearly that another process has this directory open. A leftover of a killed process is recognised by its pid
 * and start time and taken over. What really keeps an old writer from writing is the fencing epoch inside the store (I6).
 */
export class WriterLock {
  readonly #path: string;
  readonly #holder: string;

  constructor(directory: string) {
    this.#path = join(directory, 'writer.lock');
    this.#holder = `${process.pid} ${startOf(process.pid)}`;
    for (let attempt = 0; attempt < 3; attempt += 1) {
      if (this.#tryCreate()) return;
      const other = readHolder(this.#path);
      if (other !== undefined && isRunning(other)) break;
      rmSync(this.#path, { force: true });
    }
    throw new PlatformError('storage-unavailable', `another process has ${directory} open (see writer.lock in it)`);
  }

  release(): void {
    if (readHolder(this.#path) === this.#holder) rmSync(this.#path, { force: true });
  }

  #tryCreate(): boolean {
    try {
      const file = openSync(this.#path, 'wx', 0o600);
      writeSync(file, this.#holder);
      closeSync(file);
      return true;
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
      throw error;
    }
  }
}

function readHolder(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function isRunning(holder: string): boolean {
  const pid = Number(holder.split(' ')[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EPERM')) return false;
  }
  return holder === `${pid} ${startOf(pid)}`;
}

/** Of what `/proc/<pid>/stat` says behind the name: the state, and the start. */
const STATE_FIELD = 0;
const START_FIELD = 19;

/**
 * Clock ticks since boot at which the process started, so that a reused pid is not taken for the holder; 'ended' for one that was killed and
 * only waits for its parent to ask how (a container's first process may never ask); '' where /proc is absent.
 */
function startOf(pid: number): string {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return /^[ZX]$/.test(fields[STATE_FIELD] ?? '') ? 'ended' : (fields[START_FIELD] ?? '');
  } catch {
    return '';
  }
}
