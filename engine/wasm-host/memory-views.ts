import './webassembly-types.js';

/** Views on the one linear memory of a process. They are made again when it has grown: never keep one. */
export class MemoryViews {
  readonly memory: WebAssembly.Memory;
  /** The getter of the memory itself is slow. */
  buffer: SharedArrayBuffer;
  bytes: Uint8Array<SharedArrayBuffer>;
  /** The same bytes; only a Buffer decodes UTF-8 from shared memory. */
  text: Buffer<SharedArrayBuffer>;
  view: DataView<SharedArrayBuffer>;
  /** For Atomics, by address / 4. */
  words: Uint32Array<SharedArrayBuffer>;

  constructor(memory: WebAssembly.Memory) {
    this.memory = memory;
    const { buffer } = memory;
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.text = Buffer.from(buffer);
    this.view = new DataView(buffer);
    this.words = new Uint32Array(buffer);
  }

  /** To be called when the memory may have grown: by its owner after growing it, by another thread before each use. */
  refresh(): void {
    const { buffer } = this.memory;
    if (buffer === this.buffer) return;
    this.buffer = buffer;
    this.bytes = new Uint8Array(buffer);
    this.text = Buffer.from(buffer);
    this.view = new DataView(buffer);
    this.words = new Uint32Array(buffer);
  }
}
