import type { KernelCall, SnapshotMemory, ThreadHandle } from '@guidon/engine';
import { Piscina } from 'piscina';
import { WORKER_FLAGS } from './worker-flags.js';

/** Of a lane's JavaScript heap: regular expressions alone live there. */
const HEAP_MEGABYTES_MAX = 256;

/** One worker thread from its start to its end, and its thread of the snapshot memory, which outlives it. Never given a second worker. */
export class EvaluationLane {
  readonly handle: ThreadHandle;
  readonly #memory: SnapshotMemory;
  readonly #piscina: Piscina<KernelCall | undefined, number>;
  readonly #exited: Promise<unknown>;

  /** Throws `limit-exceeded` when the memory has no room for a thread. */
  constructor(memory: SnapshotMemory) {
    this.#memory = memory;
    this.handle = memory.openThread();
    this.#piscina = new Piscina({
      filename: new URL('./evaluation-worker.js', import.meta.url).href,
      execArgv: [...WORKER_FLAGS],
      minThreads: 1,
      maxThreads: 1,
      workerData: this.handle,
      resourceLimits: { maxOldGenerationSizeMb: HEAP_MEGABYTES_MAX },
    });
    // Of a worker that dies while it is idle; its next call rejects.
    this.#piscina.on('error', () => undefined);
    const [worker] = this.#piscina.threads;
    if (worker === undefined) throw new Error('a pool starts with its thread');
    this.#exited = new Promise((resolve) => worker.once('exit', resolve));
  }

  /** Resolves when the worker has its kernel. */
  async whenReady(): Promise<void> {
    await this.#piscina.run(undefined);
  }

  /** One call at a time. Rejects when the worker trapped or ended: end the lane then. */
  run(call: KernelCall): Promise<number> {
    return this.#piscina.run(call);
  }

  /** Ends the worker wherever it is; its thread is closed only once it has exited (grace-period.ts). */
  async end(): Promise<void> {
    await Promise.all([this.#piscina.destroy(), this.#exited]);
    this.#memory.closeThread(this.handle);
  }
}
