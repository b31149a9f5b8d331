import assert from 'node:assert/strict';
import { PlatformError, REQUEST_LIMITS } from '@guidon/protocol';
import type { CompiledSnapshot } from '../compile/compile-snapshot.js';
import { CALL_OPTION, STATUS, THREAD } from '../compile/thread-layout.js';
import { decodeStrictMsgpack } from './decode-strict-msgpack.js';
import { type KernelAnswer, type KernelRefusal, limitOfPlace, refusalOfPlace } from './kernel-answer.js';
import { KERNEL_PAGE_COUNT_MAX, KernelMemory } from './kernel-memory.js';
import { instantiateKernel, type KernelExports, kernelModule } from './kernel-module.js';
import { loadSnapshot, type ResidentSnapshot } from './load-snapshot.js';
import { PatternTable } from './pattern-table.js';
import { ResidentBlocks } from './resident-blocks.js';
import { ThreadBlock } from './thread-block.js';
import { PAGE_BYTES } from './webassembly-types.js';

const MEMORY_BYTES_DEFAULT = 1024 * 1024 * 1024;
const MEMORY_PAGES_INITIAL = 64;

export interface EvaluateOptions {
  readonly route: 'evaluate' | 'batch';
  /** Epoch ms, an integer: what `@now` stands for, one for the whole request. */
  readonly now: number;
  /** The asker has a client (`web`) credential. */
  readonly clientSideOnly: boolean;
  /** Bound of the body as the kernel gets it. Default: that of the route. A body that came as JSON may be longer in msgpack. */
  readonly contentBytesMax?: number;
}

/**
 * Runs the kernel for one thread: loads snapshots into its memory and evaluates msgpack requests on them. `load` and `release` are for
 * the thread that evaluates; nothing is in flight between two calls.
 */
export class KernelHost {
  readonly #module: WebAssembly.Module;
  readonly #memory: KernelMemory;
  readonly #patterns = new PatternTable();
  readonly #blocks: ResidentBlocks;
  readonly #thread: ThreadBlock;
  readonly #residents = new Set<ResidentSnapshot>();
  /** The snapshot evaluated last, which is most often the next one too; saves a look into the set. */
  #last: ResidentSnapshot | undefined;
  #kernel: KernelExports;
  #loading: Promise<unknown> = Promise.resolve();

  /** The kernel's module is compiled once per process. Memory is reserved, not taken, up to `memoryBytesMax`. */
  static async create(options: { readonly memoryBytesMax?: number } = {}): Promise<KernelHost> {
    const { memoryBytesMax = MEMORY_BYTES_DEFAULT } = options;
    const maximum = Math.min(Math.floor(memoryBytesMax / PAGE_BYTES), KERNEL_PAGE_COUNT_MAX);
    assert(maximum >= MEMORY_PAGES_INITIAL, 'the kernel needs 4 MiB of memory');
    return new KernelHost(await kernelModule(), maximum);
  }

  private constructor(module: WebAssembly.Module, maximum: number) {
    this.#module = module;
    const memory = new WebAssembly.Memory({ initial: MEMORY_PAGES_INITIAL, maximum, shared: true });
    this.#kernel = this.#instantiate(memory);
    this.#memory = new KernelMemory(memory, this.#kernel.heapBase() >>> 0);
    this.#blocks = new ResidentBlocks(this.#memory, this.#patterns);
    this.#thread = new ThreadBlock(this.#memory);
  }

  #instantiate(memory: WebAssembly.Memory): KernelExports {
    const findPattern = (block: number, pattern: number, input: number, inputBytes: number): number => {
      const text = this.#memory.text.toString('utf8', input >>> 0, (input >>> 0) + inputBytes);
      return this.#patterns.find(block >>> 0, pattern, text) ? 1 : 0;
    };
    return instantiateKernel(this.#module, { memory, findPattern });
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
    const resident = await loadSnapshot(this.#memory, this.#blocks, snapshot);
    this.#residents.add(resident);
    this.#thread.forgetShapes();
    try {
      this.#thread.reserveSnapshot(resident.slotCount, resident.flagCount);
    } catch (error) {
      this.release(resident);
      throw error;
    }
    return resident;
  }

  /** Gives up a snapshot; blocks that no other one names are freed. */
  release(resident: ResidentSnapshot): void {
    assert(this.#residents.delete(resident), 'a snapshot is released once, by the host that loaded it');
    this.#last = undefined;
    for (const block of resident.blocks) this.#blocks.release(block);
    this.#memory.free(resident.address);
    this.#thread.forgetShapes();
  }

  /** Bytes in use and free bytes already taken from the system. */
  memoryUsage(): { residentBytes: number; freeBytes: number; totalBytes: number } {
    const { usedBytes, freeBytes, bytes } = this.#memory;
    return { residentBytes: usedBytes, freeBytes, totalBytes: bytes.length };
  }

  /** Answers one msgpack request (wire.md, "Data plane"). Never throws for what is in the body. */
  evaluate(resident: ResidentSnapshot, body: Uint8Array, options: EvaluateOptions): KernelAnswer {
    assert(this.#last === resident || this.#residents.has(resident), 'the snapshot is resident in this host');
    this.#last = resident;
    const isBatch = options.route === 'batch';
    const bytesMax = options.contentBytesMax ?? (isBatch ? REQUEST_LIMITS.batchBodyBytes : REQUEST_LIMITS.bodyBytes);
    if (body.length > bytesMax)
      return { status: 'payload-too-large', detail: `the body has more than ${bytesMax} bytes` };
    const thread = this.#thread;
    if (body.length > thread.requestCapacity && !hasRoom(() => thread.reserveRequest(body.length))) return memoryFull();
    this.#memory.bytes.set(body, thread.requestAddress);
    const bits = (isBatch ? CALL_OPTION.batch : 0) | (options.clientSideOnly ? CALL_OPTION.clientSideOnly : 0);
    for (;;) {
      const result = this.#call(resident, body.length, bits, options.now);
      if (result >= 0) {
        const bytes = new Uint8Array(this.#memory.buffer, thread.answerAddress, result);
        return { status: 'ok', bytes, evaluations: thread.read(THREAD.evaluations) };
      }
      const status = -result;
      if (status === STATUS.stampsUsed) thread.resetStamps();
      else if (status !== STATUS.answerFull) return this.#refusal(status, body);
      else if (thread.answerCapacity >= REQUEST_LIMITS.answerBytes) return answerTooLarge();
      else if (!hasRoom(() => thread.growAnswer(REQUEST_LIMITS.answerBytes))) return memoryFull();
    }
  }

  #call(resident: ResidentSnapshot, byteCount: number, bits: number, now: number): number {
    try {
      return this.#kernel.evaluate(this.#thread.address, resident.address, byteCount, bits, now);
    } catch (cause) {
      // I20: an instance that threw is never used again. The module and the memory are good; its state is the next call's scratch.
      this.#kernel = this.#instantiate(this.#memory.memory);
      throw new PlatformError('internal', 'the kernel stopped', { cause });
    }
  }

  #refusal(status: number, body: Uint8Array): KernelAnswer {
    const thread = this.#thread;
    const place = thread.read(THREAD.errorPlace);
    if (status === STATUS.limit) return limitOfPlace(place);
    if (status === STATUS.invalid) {
      return refusalOfPlace(place, thread.read(THREAD.errorIndex), this.#unknownName(body));
    }
    if (status === STATUS.revisionBehind) {
      const minRevision = this.#memory.view.getBigUint64(thread.address + THREAD.minRevision, true);
      return { status: 'revision-behind', minRevision: Number(minRevision) };
    }
    assert(status === STATUS.malformed, 'the kernel answers one of the statuses');
    const decoded = decodeStrictMsgpack(body);
    const detail = decoded.ok ? 'the body is no msgpack' : `${decoded.detail} at byte ${decoded.offset}`;
    return { status: 'malformed-body', detail };
  }

  /** The member that the protocol does not name, read again from the body: names that long are rare. */
  #unknownName(body: Uint8Array): string {
    const offset = this.#thread.read(THREAD.errorOffset);
    const decoded = decodeStrictMsgpack(body.subarray(offset), { isPrefix: true });
    return decoded.ok && typeof decoded.value === 'string' ? decoded.value : '';
  }
}

function answerTooLarge(): KernelRefusal {
  return { status: 'limit-exceeded', detail: `the answer has more than ${REQUEST_LIMITS.answerBytes} bytes` };
}

/** Runs what may find the memory full; nothing has changed then. */
function hasRoom(reserve: () => void): boolean {
  try {
    reserve();
    return true;
  } catch (error) {
    if (error instanceof PlatformError && error.code === 'limit-exceeded') return false;
    throw error;
  }
}

function memoryFull(): KernelRefusal {
  return { status: 'limit-exceeded', detail: 'the kernel memory is too full for a request or an answer of this size' };
}
