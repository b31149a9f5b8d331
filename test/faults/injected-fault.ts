import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { shimEnvironment } from './fault-shim.js';
import type { WriterOptions } from './miniature.js';

/** What happens to the `at`-th call (from 1) on the data file, and to all after it. */
export interface InjectedFault {
  /** The sync of a commit, or the write of its pages. */
  readonly call: 'sync' | 'write';
  readonly what: 'EIO' | 'ENOSPC' | 'HANG';
  readonly at: number;
}

const SYSTEM_CALLS = { sync: 'fdatasync', write: 'pwrite64,writev' } as const;

/** Whether strace may trace here; a container may forbid it. */
export const isTracingPermitted: boolean =
  spawnSync('strace', ['-f', '-qq', '-o', '/dev/null', 'true'], { stdio: 'ignore' }).status === 0;

/** How to run a writer so that it meets the fault in the kernel's own answer. */
export function traced(directory: string, { call, what, at }: InjectedFault): Pick<WriterOptions, 'tracer'> {
  const effect = what === 'HANG' ? 'delay_enter=60000000' : `error=${what}`;
  const path = join(directory, 'store', 'data.mdb');
  const injection = `inject=${SYSTEM_CALLS[call]}:${effect}:when=${at}+`;
  return {
    tracer: [
      'strace',
      '-f',
      '-qq',
      '-o',
      '/dev/null',
      '-P',
      path,
      '-e',
      `trace=${SYSTEM_CALLS[call]}`,
      '-e',
      injection,
    ],
  };
}

/** The same by the preloaded shim. */
export function preloaded({ call, what, at }: InjectedFault): Pick<WriterOptions, 'environment'> {
  return { environment: shimEnvironment({ fault: `${call}:${what}:${at}` }) };
}
