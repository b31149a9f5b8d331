import assert from 'node:assert/strict';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import type { EvaluateOptions, KernelAnswer, ResidentSnapshot, SnapshotMemory, ThreadHandle } from '@guidon/engine';

const WORKER = fileURLToPath(new URL('../dist/support/kernel-thread-worker.js', import.meta.url));

/** A real worker thread with a kernel on the shared memory of its owner. */
export class TestThread {
  readonly handle: ThreadHandle;
  readonly #memory: SnapshotMemory;
  readonly #worker: Worker;

  private constructor(memory: SnapshotMemory) {
    this.#memory = memory;
    this.handle = memory.openThread();
    this.#worker = new Worker(WORKER, { workerData: this.handle });
  }

  static async start(memory: SnapshotMemory): Promise<TestThread> {
    const thread = new TestThread(memory);
    await once(thread.#worker, 'message');
    return thread;
  }

  /** Bytes of the answer are borrowed until the next call. Rejects when the kernel trapped. */
  async ask(resident: ResidentSnapshot, body: Uint8Array, options: EvaluateOptions): Promise<KernelAnswer> {
    for (;;) {
      const answer = this.#memory.settle(this.handle, await this.start(resident, body, options));
      if (answer !== undefined) return answer;
    }
  }

  /** Hands over one call; resolves with its result when it has ended. */
  async start(resident: ResidentSnapshot, body: Uint8Array, options: EvaluateOptions): Promise<number> {
    const call = this.#memory.assign(this.handle, resident, body, options);
    assert(!('status' in call), 'the body is accepted');
    this.#worker.postMessage(call);
    const [message]: { result?: number; error?: string }[] = await once(this.#worker, 'message');
    if (message?.result === undefined) throw new Error(message?.error);
    return message.result;
  }

  /** Ends the worker, wherever it is; resolves with its exit event. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** Ends the worker and gives its thread back. */
  async end(): Promise<void> {
    await this.terminate();
    this.#memory.closeThread(this.handle);
  }
}
