import assert from 'node:assert/strict';
import { PlatformError } from '@guidon/protocol';
import { SHAPE, THREAD } from '../compile/thread-layout.js';
import { BlockPatterns } from './block-patterns.js';
import { instantiateKernel, type KernelExports } from './kernel-module.js';
import { MemoryViews } from './memory-views.js';

/** What a thread needs to evaluate; survives a structured clone. Made by SnapshotMemory.openThread(). */
export interface ThreadHandle {
  readonly memory: WebAssembly.Memory;
  readonly module: WebAssembly.Module;
  /** Of its THREAD block, which names its regions. */
  readonly threadAddress: number;
  /** Address of its word in GracePeriod; 0 for the owner's own thread, which frees nothing while it is in a call. */
  readonly epochSlot: number;
}

/** One evaluation of the request that lies in the thread's request region. */
export interface KernelCall {
  readonly rootAddress: number;
  readonly requestBytes: number;
  /** Bits of CALL_OPTION. */
  readonly options: number;
  /** Epoch ms, an integer: what `@now` stands for. */
  readonly now: number;
}

/**
 * Evaluates on one thread, whichever made its handle's memory. It allocates nothing and knows no snapshot but the root it is told: the owner
 * has put the request into the request region and entered the epoch slot (SnapshotMemory.assign); this clears the slot as the last thing of
 * the call. What the call found lies in the THREAD block and the answer region until the owner's next assign.
 */
export class KernelThread {
  readonly #handle: ThreadHandle;
  readonly #views: MemoryViews;
  readonly #patterns = new BlockPatterns();
  #kernel: KernelExports;
  /** The slot's word when the shapes were last made. */
  #shapesWord = 0;

  /** `views` are the owner's, for its own thread. */
  constructor(handle: ThreadHandle, views = new MemoryViews(handle.memory)) {
    this.#handle = handle;
    this.#views = views;
    this.#kernel = this.#instantiate();
  }

  #instantiate(): KernelExports {
    const { memory, module } = this.#handle;
    const findPattern = (block: number, pattern: number, input: number, inputBytes: number): number =>
      this.#patterns.find(this.#views, block >>> 0, pattern, input >>> 0, inputBytes) ? 1 : 0;
    const parseNumber = (at: number, byteCount: number): number =>
      Number(this.#views.text.toString('latin1', at >>> 0, (at >>> 0) + byteCount));
    return instantiateKernel(module, { memory, findPattern, parseNumber });
  }

  /** Bytes of the answer, or a STATUS below 0. Throws `internal` when the kernel trapped: end the worker, or go on with a new instance. */
  evaluate({ rootAddress, requestBytes, options, now }: KernelCall): number {
    const slot = this.#handle.epochSlot >> 2;
    this.#views.refresh();
    const word = Atomics.load(this.#views.words, slot);
    assert(word !== 0, 'the owner enters before it hands over a call');
    try {
      if (word !== this.#shapesWord) this.forgetShapes();
      this.#shapesWord = word;
      return this.run(rootAddress, requestBytes, options, now, 0);
    } finally {
      Atomics.store(this.#views.words, slot, 0);
    }
  }

  /** The call alone, for the owner's own thread. `costMax`: work that is admitted, 0 = any. */
  run(rootAddress: number, requestBytes: number, options: number, now: number, costMax: number): number {
    try {
      return this.#kernel.evaluate(this.#handle.threadAddress, rootAddress, requestBytes, options, now, costMax);
    } catch (cause) {
      // I20: an instance that threw is never used again. The module and the memory are good; its state is the next call's scratch.
      this.#kernel = this.#instantiate();
      throw new PlatformError('internal', 'the kernel stopped', { cause });
    }
  }

  /** Whenever a root may have been freed since the last call: its address may mean another one now. */
  forgetShapes(): void {
    const { bytes, view } = this.#views;
    const shapes = view.getUint32(this.#handle.threadAddress + THREAD.shapes, true);
    bytes.fill(0, shapes, shapes + SHAPE.count * SHAPE.bytes);
  }
}
