import { PlatformError } from '@guidon/protocol';
import { MemoryViews } from './memory-views.js';
import { PageAllocator } from './page-allocator.js';
import { PAGE_BYTES } from './webassembly-types.js';

/** The kernel is built for at most this many pages, so that no address plus length leaves 32 bits. */
export const KERNEL_PAGE_COUNT_MAX = 32_768;

/** The linear memory as its owner has it: the thread that alone allocates and frees. */
export class KernelMemory extends MemoryViews {
  readonly #allocator: PageAllocator;

  /** The first `reservedBytes` belong to the kernel's constant data. `onFree` is shown what nobody may read any more. */
  constructor(memory: WebAssembly.Memory, reservedBytes: number, onFree?: (freed: Uint8Array) => void) {
    super(memory);
    const pageCount = memory.buffer.byteLength / PAGE_BYTES;
    this.#allocator = new PageAllocator(
      Math.ceil(reservedBytes / PAGE_BYTES),
      pageCount,
      (added) => this.#grow(added),
      onFree && ((address, byteCount) => onFree(this.bytes.subarray(address, address + byteCount))),
    );
  }

  get usedBytes(): number {
    return this.#allocator.usedBytes;
  }

  get freeBytes(): number {
    return this.#allocator.freeBytes;
  }

  /** Throws `limit-exceeded` when the memory is full. */
  allocate(byteCount: number): number {
    const address = this.#allocator.allocate(byteCount);
    if (address === undefined) throw new PlatformError('limit-exceeded', 'the kernel memory is full');
    return address;
  }

  /** What an allocation takes. */
  bytesOf(address: number): number {
    return this.#allocator.bytesOf(address);
  }

  free(address: number): void {
    this.#allocator.free(address);
  }

  #grow(pageCount: number): boolean {
    if (pageCount <= 0) return false;
    try {
      this.memory.grow(pageCount);
    } catch (error) {
      if (error instanceof RangeError) return false;
      throw error;
    }
    this.refresh();
    return true;
  }
}
