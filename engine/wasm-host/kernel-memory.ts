import { PlatformError } from '@guidon/protocol';
import { PageAllocator } from './page-allocator.js';
import { PAGE_BYTES } from './webassembly-types.js';

/** The kernel is built for at most this many pages, so that no address plus length leaves 32 bits. */
export const KERNEL_PAGE_COUNT_MAX = 32_768;

/** The shared linear memory of one host and the views on it. Views are made again whenever it grows: never keep one. */
export class KernelMemory {
  readonly memory: WebAssembly.Memory;
  /** The getter of the memory itself is slow. */
  buffer: SharedArrayBuffer;
  bytes: Uint8Array<SharedArrayBuffer>;
  /** The same bytes; only a Buffer decodes UTF-8 from shared memory. */
  text: Buffer<SharedArrayBuffer>;
  view: DataView<SharedArrayBuffer>;
  readonly #allocator: PageAllocator;

  /** The first `reservedBytes` belong to the kernel's constant data. */
  constructor(memory: WebAssembly.Memory, reservedBytes: number) {
    this.memory = memory;
    this.buffer = memory.buffer;
    this.bytes = new Uint8Array(memory.buffer);
    this.text = Buffer.from(memory.buffer);
    this.view = new DataView(memory.buffer);
    const pageCount = memory.buffer.byteLength / PAGE_BYTES;
    this.#allocator = new PageAllocator(Math.ceil(reservedBytes / PAGE_BYTES), pageCount, (added) => this.#grow(added));
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
    this.buffer = this.memory.buffer;
    this.bytes = new Uint8Array(this.memory.buffer);
    this.text = Buffer.from(this.memory.buffer);
    this.view = new DataView(this.memory.buffer);
    return true;
  }
}
