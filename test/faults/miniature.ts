import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type EnvironmentRef, parseEnvironmentRef } from '@guidon/protocol';

const WRITER = fileURLToPath(new URL('./committer-writer.mjs', import.meta.url));
/** A child that says nothing for so long is killed, and the test fails. */
const SILENCE_MS_MAX = 20_000;

/** What committer-writer.mjs writes to: four tenants of four environments each. */
export const MINIATURE: readonly EnvironmentRef[] = Array.from({ length: 16 }, (_, index) =>
  parseEnvironmentRef({
    tenantId: `ten_${Math.floor(index / 4)}`,
    projectId: `prj_${Math.floor(index / 4)}`,
    environmentId: `env_${index}`,
  }),
);

/** One answer of a writer: acknowledged with its revision, or refused with a code. */
export interface WriterAnswer {
  readonly environmentId: string;
  readonly requestId: string;
  readonly revision?: number;
  readonly refused?: string;
}

export interface WriterRun {
  readonly answers: readonly WriterAnswer[];
  /** How the process ended; `killed` also when its own rule against failed commits did it. */
  readonly end: 'killed' | `exit ${number}`;
  readonly errors: string;
}

export interface WriterOptions {
  readonly directory: string;
  readonly round: number;
  /** Default `honest`. */
  readonly mode?: 'honest' | 'early' | 'unsynced' | 'deaf';
  readonly environment?: Record<string, string>;
  /** Put before the command: a tracer and its arguments. */
  readonly tracer?: readonly string[];
  /** Lowest free space at which the store takes writes; default the store's own. */
  readonly freeBytesMin?: number;
  /** Called at the first sign of life, then at every answer; kills when it likes to. */
  readonly onAnswer?: (kill: () => void, answerCount: number) => void;
}

/** Runs a writer until it is ended, by the test or by itself. */
export function runWriter(options: WriterOptions): Promise<WriterRun> {
  const { directory, round, mode = 'honest', tracer = [], environment, onAnswer } = options;
  const command = [...tracer, process.execPath, WRITER, directory, String(round), mode, JSON.stringify(MINIATURE)];
  return new Promise((resolve, reject) => {
    const child = spawn(command[0] ?? '', command.slice(1), {
      env: { ...process.env, ...environment, GUIDON_TEST_FREE_BYTES_MIN: String(options.freeBytesMin ?? '') },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, so that a tracer and what it traces end together.
      detached: true,
    });
    const kill = (): void => {
      if (child.pid !== undefined && child.signalCode === null) process.kill(-child.pid, 'SIGKILL');
    };
    let errors = '';
    let rest = '';
    const answers: WriterAnswer[] = [];
    let isSilent = false;
    const silence = setTimeout(() => {
      isSilent = true;
      kill();
    }, SILENCE_MS_MAX);
    child.stderr.on('data', (chunk: Buffer) => {
      errors = (errors + chunk.toString('utf8')).slice(-10_000);
    });
    child.stdout.on('data', (chunk: Buffer) => {
      silence.refresh();
      const lines = (rest + chunk.toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const answer: WriterAnswer & { isOpen?: boolean } = JSON.parse(line);
        if (answer.isOpen !== true) answers.push(answer);
      }
      onAnswer?.(kill, answers.length);
    });
    child.on('error', reject);
    child.on('close', (status, signal) => {
      clearTimeout(silence);
      if (isSilent) reject(new Error(`a writer said nothing for ${SILENCE_MS_MAX} ms: ${errors}`));
      else resolve({ answers, errors, end: signal === null ? `exit ${status ?? -1}` : 'killed' });
    });
  });
}
