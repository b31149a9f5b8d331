import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Linux counts processor time in hundredths of a second for every reader of /proc, whatever the kernel's own tick is. */
const TICKS_PER_SECOND = 100;
/** A node that gets ten thousand environments for the first time compiles and stores them before it is ready. */
const READY_DEADLINE_MS = 1_800_000;
const STOP_DEADLINE_MS = 20_000;

/** A forked script of a benchmark: it sends one message when it is ready, and ends on SIGTERM. Linux only: it is measured from /proc. */
export class BenchProcess<Ready> {
  readonly ready: Ready;
  readonly #child: ChildProcess;

  /** `script` is a path below the folder of the built benchmarks, such as `support/node-process.js`. */
  static async start<Ready>(
    script: string,
    args: readonly string[],
    execArgv: readonly string[] = [],
  ): Promise<BenchProcess<Ready>> {
    const path = fileURLToPath(new URL(`../${script}`, import.meta.url));
    const child = fork(path, args, { execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    const timer = setTimeout(() => child.kill('SIGKILL'), READY_DEADLINE_MS);
    try {
      return new BenchProcess<Ready>(child, await nextMessage<Ready>(child, script));
    } finally {
      clearTimeout(timer);
    }
  }

  private constructor(child: ChildProcess, ready: Ready) {
    this.#child = child;
    this.ready = ready;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** The answer to one message. */
  async ask<Answer>(message: object | string = 'report'): Promise<Answer> {
    this.#child.send(message);
    return await nextMessage<Answer>(this.#child, 'the process');
  }

  /** Processor time used so far, all threads, seconds. */
  cpuSeconds(): number {
    // The second field is the name in brackets, which may hold blanks; utime and stime are the 14th and 15th.
    const fields = readFileSync(`/proc/${this.pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  }

  /** Resident memory that no file backs (`RssAnon`), bytes. Shared anonymous memory, such as a kernel's, counts as `RssShmem` and is added. */
  anonymousBytes(): number {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    const kilobytes = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
    return (kilobytes('RssAnon') + kilobytes('RssShmem')) * 1024;
  }

  descriptorCount(): number {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_DEADLINE_MS);
    child.kill('SIGTERM');
    await once(child, 'exit');
    clearTimeout(timer);
  }
}

async function nextMessage<Message>(child: ChildProcess, name: string): Promise<Message> {
  const ended = new AbortController();
  try {
    const { signal } = ended;
    const [message]: unknown[] = await Promise.race([
      once(child, 'message', { signal }),
      once(child, 'exit', { signal }).then(([status]) => Promise.reject(new Error(`${name} ended with ${status}`))),
    ]);
    return message as Message;
  } finally {
    ended.abort();
  }
}
