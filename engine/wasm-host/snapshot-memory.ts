import assert from 'node:assert/strict';
import { REQUEST_LIMITS } from '@guidon/protocol';
import type { CompiledSnapshot } from '../compile/compile-snapshot.js';
import { CALL_OPTION } from '../compile/thread-layout.js';
import { AcceptedPatterns } from './accepted-patterns.js';
import { GracePeriod } from './grace-period.js';
import type { KernelAnswer, KernelRefusal } from './kernel-answer.js';
import { KERNEL_PAGE_COUNT_MAX, KernelMemory } from './kernel-memory.js';
import { instantiateKernel, kernelModule } from './kernel-module.js';
import { type KernelCall, KernelThread, type ThreadHandle } from './kernel-thread.js';
import { loadSnapshot, type ResidentSnapshot } from './load-snapshot.js';
import { hasRoom, memoryFull, readAnswer, requestOf } from './read-answer.js';
import { ResidentBlocks } from './resident-blocks.js';
import { ThreadRegions } from './thread-regions.js';
import { UsageBlocks } from './usage-blocks.js';
import { UsageTotals } from './usage-totals.js';
import { PAGE_BYTES } from './webassembly-types.js';

const MEMORY_BYTES_DEFAULT = 1024 * 1024 * 1024;
const MEMORY_PAGES_INITIAL = 64;

export interface SnapshotMemoryOptions {
  /** Reserved, not taken. */
  readonly memoryBytesMax?: number;
  /** False: nobody asks what was answered, and the counts of a snapshot go with it. Default true. */
  readonly keepsUsage?: boolean;
  /** Shown what has been freed, before it is handed out again: a test fills it with a pattern. */
  readonly onFree?: (freed: Uint8Array) => void;
}

/** How a body is written; both formats carry the same members. */
export type BodyFormat = 'msgpack' | 'json';

export interface EvaluateOptions {
  readonly route: 'evaluate' | 'batch';
  /** Of the body, and of the answer, each on its own. Default: msgpack. */
  readonly requestFormat?: BodyFormat;
  readonly answerFormat?: BodyFormat;
  /** Epoch ms, an integer: what `@now` stands for, one for the whole request. */
  readonly now: number;
  /** The asker has a client (`web`) credential. */
  readonly clientSideOnly: boolean;
  /** It took too long before: each flag asked is answered ERROR/GENERAL and nothing is evaluated. */
  readonly isGivenUp?: boolean;
}

/**
 * The linear memory in which a process keeps its snapshots, once, for all of its threads. It belongs to the thread that made it: that one
 * alone loads, releases, allocates and frees. Other threads evaluate by their KernelThread. One call on another thread:
 *
 *   handle = memory.openThread()           hand it to the worker (workerData or a message), which makes its KernelThread of it
 *   call = memory.assign(handle, …)        the request lies in the thread's region, its epoch slot is entered; post `call` to the worker
 *   result = thread.evaluate(call)         in the worker; post the number back
 *   answer = memory.settle(handle, result) undefined: regions were enlarged, assignAgain; else read the answer before the next assign
 *   memory.closeThread(handle)             once, after the worker's exit event, however it ended
 *
 * What is released while threads are in calls is freed by the first reclaim() after they left (grace-period.ts); settle(), release(),
 * load() and closeThread() do that.
 */
export class SnapshotMemory {
  readonly #module: WebAssembly.Module;
  readonly #memory: KernelMemory;
  readonly #grace: GracePeriod;
  readonly #blocks: ResidentBlocks;
  readonly #residents = new Set<ResidentSnapshot>();
  /** By address of the THREAD block. */
  readonly #threads = new Map<number, ThreadRegions>();
  readonly #patterns = new AcceptedPatterns();
  readonly #usageBlocks = new Map<number, UsageBlocks>();
  /** What all threads together have answered, as of the last sweepUsage(). */
  readonly usage: UsageTotals;
  #rootBytes = 0;
  #loading: Promise<unknown> = Promise.resolve();

  /** The kernel's module is compiled once per process. */
  static async create(options: SnapshotMemoryOptions = {}): Promise<SnapshotMemory> {
    const { memoryBytesMax = MEMORY_BYTES_DEFAULT } = options;
    const maximum = Math.min(Math.floor(memoryBytesMax / PAGE_BYTES), KERNEL_PAGE_COUNT_MAX);
    assert(maximum >= MEMORY_PAGES_INITIAL, 'the kernel needs 4 MiB of memory');
    return new SnapshotMemory(await kernelModule(), maximum, options);
  }

  private constructor(module: WebAssembly.Module, maximum: number, options: SnapshotMemoryOptions) {
    const { onFree, keepsUsage = true } = options;
    this.#module = module;
    const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES_INITIAL, maximum, shared: true });
    const kernel = instantiateKernel(module, { memory, findPattern: () => 0, parseNumber: () => 0 });
    this.#memory = new KernelMemory(memory, kernel.heapBase() >>> 0, onFree);
    this.#grace = new GracePeriod(this.#memory);
    this.usage = new UsageTotals(this.#memory, keepsUsage);
    this.#blocks = new ResidentBlocks(this.#memory, (address) => this.#grace.retire(address));
  }

  /** Rises whenever the address of a root may come to mean another one. */
  get epoch(): number {
    return this.#grace.epoch;
  }

  /**
   * Verifies a snapshot and copies the blocks that are not resident already, in slices between which the event loop turns. Throws
   * `validation-failed` when it is refused and `limit-exceeded` when the memory is full; then nothing has changed.
   */
  load(snapshot: CompiledSnapshot): Promise<ResidentSnapshot> {
    const loaded = this.#loading.then(() => this.#loadNow(snapshot));
    this.#loading = loaded.catch(() => undefined); // the caller gets the error; the next load starts all the same
    return loaded;
  }

  async #loadNow(snapshot: CompiledSnapshot): Promise<ResidentSnapshot> {
    this.reclaim();
    try {
      const resident = await loadSnapshot(this.#memory, this.#blocks, this.#patterns, snapshot);
      this.#residents.add(resident);
      this.#rootBytes += this.#memory.bytesOf(resident.address);
      return resident;
    } catch (error) {
      this.#retired();
      throw error;
    }
  }

  isResident(resident: ResidentSnapshot): boolean {
    return this.#residents.has(resident);
  }

  /** Gives up a snapshot: no call starts on it any more. Calls that run end on it; blocks that no other snapshot names go with it. */
  release(resident: ResidentSnapshot): void {
    assert(this.#residents.delete(resident), 'a snapshot is released once, by the memory that loaded it');
    for (const blocks of this.#usageBlocks.values()) blocks.leave(resident);
    this.usage.release(resident);
    for (const block of resident.blocks) this.#blocks.release(block);
    this.#rootBytes -= this.#memory.bytesOf(resident.address);
    this.#grace.retire(resident.address);
    this.#retired();
  }

  #retired(): void {
    this.#grace.advance();
    this.reclaim();
  }

  /** Frees what was released and no thread can be reading any more. */
  reclaim(): void {
    this.#grace.reclaim();
  }

  /** Adds what the threads have counted to `usage`. Once a second is often enough: counters wrap around after four billion. */
  sweepUsage(): void {
    for (const blocks of this.#usageBlocks.values()) blocks.sweep();
  }

  /** Bytes that resident snapshots take, a block that many share once. */
  get snapshotBytes(): number {
    return this.#blocks.bytes + this.#rootBytes;
  }

  /** Bytes in use, thread regions and what waits to be freed included; free bytes already taken from the system. */
  memoryUsage(): { usedBytes: number; freeBytes: number; totalBytes: number; retiredCount: number } {
    const { usedBytes, freeBytes, bytes } = this.#memory;
    return { usedBytes, freeBytes, totalBytes: bytes.length, retiredCount: this.#grace.retiredCount };
  }

  /** Regions for one more thread. Throws `limit-exceeded` when the memory is full or has THREAD_COUNT_MAX threads. */
  openThread(): ThreadHandle {
    const epochSlot = this.#grace.open();
    try {
      return this.#handleOf(this.#openRegions(() => this.#grace.isOffline(epochSlot)).regions, epochSlot);
    } catch (error) {
      this.#grace.close(epochSlot);
      throw error;
    }
  }

  /** The worker of this thread has exited, in whatever state: its regions are freed and nothing waits for it. */
  closeThread({ threadAddress, epochSlot }: ThreadHandle): void {
    const regions = this.#regionsOf(threadAddress);
    this.#usageOf(threadAddress).close(!this.#grace.isOffline(epochSlot));
    this.#usageBlocks.delete(threadAddress);
    this.#threads.delete(threadAddress);
    this.#grace.close(epochSlot);
    regions.free();
    this.reclaim();
  }

  /** A thread inside the owner's: nothing is freed while it is in a call, so it has no slot. It lives as long as the memory. */
  openOwnThread(): { readonly thread: KernelThread; readonly regions: ThreadRegions; readonly usage: UsageBlocks } {
    const { regions, usage } = this.#openRegions(() => true);
    return { thread: new KernelThread(this.#handleOf(regions, 0), this.#memory), regions, usage };
  }

  #openRegions(isOffline: () => boolean): { regions: ThreadRegions; usage: UsageBlocks } {
    const regions = new ThreadRegions(this.#memory);
    const usage = new UsageBlocks(this.#memory, regions.address, this.usage, isOffline);
    this.#threads.set(regions.address, regions);
    this.#usageBlocks.set(regions.address, usage);
    return { regions, usage };
  }

  #usageOf(threadAddress: number): UsageBlocks {
    const usage = this.#usageBlocks.get(threadAddress);
    assert(usage !== undefined, 'the thread is open');
    return usage;
  }

  #handleOf({ address }: ThreadRegions, epochSlot: number): ThreadHandle {
    return { memory: this.#memory.memory, module: this.#module, threadAddress: address, epochSlot };
  }

  #regionsOf(threadAddress: number): ThreadRegions {
    const regions = this.#threads.get(threadAddress);
    assert(regions !== undefined, 'the thread is open');
    return regions;
  }

  /**
   * Prepares an idle thread for one call: makes room for the snapshot's slots and flags, puts the body into its request region and enters
   * its epoch slot. From here on the thread holds `resident`, until its call ends or it is closed.
   */
  assign(
    handle: ThreadHandle,
    resident: ResidentSnapshot,
    body: Uint8Array,
    options: EvaluateOptions,
  ): KernelCall | KernelRefusal {
    assert(this.#grace.isOffline(handle.epochSlot), 'a thread runs one call at a time');
    const refusal = this.putRequest(this.#regionsOf(handle.threadAddress), body, options);
    return refusal ?? this.assignAgain(handle, resident, options);
  }

  /** As assign(), for the request that lies in the thread's region since the last one. */
  assignAgain(handle: ThreadHandle, resident: ResidentSnapshot, options: EvaluateOptions): KernelCall | KernelRefusal {
    assert(this.#residents.has(resident), 'the snapshot is resident in this memory');
    assert(this.#grace.isOffline(handle.epochSlot), 'a thread runs one call at a time');
    const regions = this.#regionsOf(handle.threadAddress);
    const reserve = (): void => {
      regions.reserveSnapshot(resident.slotCount, resident.flagCount);
      this.#usageOf(handle.threadAddress).use(resident);
    };
    if (!hasRoom(reserve)) return memoryFull();
    this.#grace.enter(handle.epochSlot);
    const { requestBytes } = regions;
    return { rootAddress: resident.address, requestBytes, options: callOptionsOf(options), now: options.now };
  }

  /** A copy of the request that was assigned last, also while a call on it runs or after its worker is gone. */
  requestOf({ threadAddress }: ThreadHandle): Uint8Array {
    return requestOf(this.#memory, this.#regionsOf(threadAddress));
  }

  /** What a call of an idle thread found. Undefined: its regions were too small and have been enlarged; assignAgain. */
  settle({ threadAddress, epochSlot }: ThreadHandle, result: number): KernelAnswer | undefined {
    assert(this.#grace.isOffline(epochSlot), 'the call has ended');
    this.reclaim();
    return this.readAnswer(this.#regionsOf(threadAddress), result);
  }

  /** Copies a body into a request region; says why not. */
  putRequest(regions: ThreadRegions, body: Uint8Array, options: EvaluateOptions): KernelRefusal | undefined {
    const bytesMax = bodyBytesMaxOf(options);
    if (body.length > bytesMax)
      return { status: 'payload-too-large', detail: `the body has more than ${bytesMax} bytes` };
    const isLarger =
      body.length > regions.requestCapacity || (options.requestFormat === 'json' && body.length > regions.jsonCapacity);
    if (isLarger && !reserveBody(regions, body.length, options)) return memoryFull();
    regions.putRequest(body);
    return undefined;
  }

  /** What a call on these regions found, as settle(). */
  readAnswer(regions: ThreadRegions, result: number): KernelAnswer | undefined {
    return readAnswer(this.#memory, regions, result);
  }
}

/** A function of its own: what a closure captures is made at the entry of its function, for every request. */
function reserveBody(regions: ThreadRegions, byteCount: number, { requestFormat }: EvaluateOptions): boolean {
  return hasRoom(() => {
    regions.reserveRequest(byteCount);
    if (requestFormat === 'json' && byteCount > regions.jsonCapacity) regions.reserveJson(byteCount);
  });
}

/** Bits of CALL_OPTION. */
export function callOptionsOf({
  route,
  clientSideOnly,
  requestFormat,
  answerFormat,
  isGivenUp,
}: EvaluateOptions): number {
  return (
    (route === 'batch' ? CALL_OPTION.batch : 0) |
    (clientSideOnly ? CALL_OPTION.clientSideOnly : 0) |
    (requestFormat === 'json' ? CALL_OPTION.jsonRequest : 0) |
    (answerFormat === 'json' ? CALL_OPTION.jsonAnswer : 0) |
    (isGivenUp === true ? CALL_OPTION.givenUp : 0)
  );
}

function bodyBytesMaxOf({ route }: EvaluateOptions): number {
  return route === 'batch' ? REQUEST_LIMITS.batchBodyBytes : REQUEST_LIMITS.bodyBytes;
}
