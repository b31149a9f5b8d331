import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The built `guidon` command, and the repository it was built in. */
export const GUIDON_MAIN = fileURLToPath(import.meta.resolve('@guidon/cli/main.js'));
export const REPOSITORY = join(GUIDON_MAIN, '../../..');

/** How long one command may take to say what a test waits for, milliseconds. */
const OUTPUT_MS_MAX = 30_000;

/** One running `guidon` command: a real process with its own output, ended by pid. */
export class GuidonProcess {
  readonly child: ChildProcess;
  output = '';
  readonly #exited: Promise<number | null>;

  /** `main`: the command of another build. */
  constructor(args: readonly string[], environment: NodeJS.ProcessEnv = {}, main = GUIDON_MAIN) {
    this.child = spawn(process.execPath, [main, ...args], {
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const collect = (chunk: Buffer): void => {
      this.output += chunk.toString();
    };
    this.child.stdout?.on('data', collect);
    this.child.stderr?.on('data', collect);
    this.#exited = once(this.child, 'exit').then(([status]) => (typeof status === 'number' ? status : null));
  }

  /** Resolves with the match once the output has it; rejects with the output when the process ends or takes too long before. */
  async waitFor(pattern: RegExp): Promise<RegExpExecArray> {
    const deadlineMs = performance.now() + OUTPUT_MS_MAX;
    while (performance.now() < deadlineMs) {
      const match = pattern.exec(this.output);
      if (match !== null) return match;
      if (this.child.exitCode !== null) break;
      await new Promise((wake) => setTimeout(wake, 20));
    }
    throw new Error(`no ${pattern} in the output (exit ${this.child.exitCode}):\n${this.output}`);
  }

  /** Sends the signal and resolves with the exit status; null when a signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGINT'): Promise<number | null> {
    if (this.child.exitCode === null && this.child.signalCode === null) this.child.kill(signal);
    return this.#exited;
  }

  exitStatus(): Promise<number | null> {
    return this.#exited;
  }
}

/** A folder that the caller removes with `remove()`. */
export interface TemporaryFolder {
  readonly path: string;
  readonly remove: () => void;
}

export function temporaryFolder(name: string): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), `guidon-${name}-`));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** How long the threads of a process may take to stop, milliseconds. */
const STOP_MS_MAX = 10_000;

/** After SIGSTOP: each thread stops at a time of its own. */
export async function untilStopped(pid: number): Promise<void> {
  const isStopped = (thread: string): boolean =>
    / [Tt] /.test(readFileSync(`/proc/${pid}/task/${thread}/stat`, 'utf8').replace(/^.*\)/, ''));
  const deadlineMs = performance.now() + STOP_MS_MAX;
  while (!readdirSync(`/proc/${pid}/task`).every(isStopped)) {
    if (performance.now() > deadlineMs) throw new Error(`process ${pid} does not stop`);
    await new Promise((wake) => setTimeout(wake, 2));
  }
}
