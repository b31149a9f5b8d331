import assert from 'node:assert/strict';
import { murmur3 } from './murmur3.js';

const encoder = new TextEncoder();
const INITIAL_BYTES = 1024;

/**
 * Writes little-endian blocks into one growing buffer. Records are reserved first and filled when what they point to is known.
 * One writer is reused for many blocks (`reset`), so that compiling a flag allocates little more than its bytes.
 */
export class ByteWriter {
  #bytes = new Uint8Array(INITIAL_BYTES);
  #view = new DataView(this.#bytes.buffer);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  reset(): void {
    this.#bytes.fill(0, 0, this.#length);
    this.#length = 0;
  }

  /** A copy of what has been written. */
  finish(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Appends `byteCount` zero bytes at a multiple of `alignment` (a power of two) and returns their offset. */
  reserve(byteCount: number, alignment = 4): number {
    const offset = (this.#length + alignment - 1) & -alignment;
    this.#ensure(offset + byteCount);
    this.#length = offset + byteCount;
    return offset;
  }

  /** Forgets everything from `offset` on. */
  truncate(offset: number): void {
    this.#bytes.fill(0, offset, this.#length);
    this.#length = offset;
  }

  u8(offset: number, value: number): void {
    this.#view.setUint8(offset, value);
  }

  u16(offset: number, value: number): void {
    assert(value >= 0 && value <= 0xffff, 'a u16 field holds 16 bits');
    this.#view.setUint16(offset, value, true);
  }

  u32(offset: number, value: number): void {
    this.#view.setUint32(offset, value, true);
  }

  readU32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number, value: bigint): void {
    this.#view.setBigUint64(offset, value, true);
  }

  f64(offset: number, value: number): void {
    this.#view.setFloat64(offset, value, true);
  }

  /** Overwrites bytes that were reserved. */
  set(offset: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, offset);
  }

  /** Appends bytes without alignment and returns their offset. */
  append(bytes: Uint8Array): number {
    const offset = this.reserve(bytes.length, 1);
    this.#bytes.set(bytes, offset);
    return offset;
  }

  /** Appends UTF-8 without alignment; its length is what `length` grew by. A lone surrogate becomes U+FFFD. */
  text(value: string): number {
    const offset = this.#length;
    this.#ensure(offset + value.length * 3);
    const bytes = this.#bytes;
    let at = offset;
    for (let index = 0; index < value.length; index += 1) {
      const unit = value.charCodeAt(index);
      if (unit >= 0x80) {
        at += encoder.encodeInto(value.slice(index), bytes.subarray(at)).written;
        break;
      }
      bytes[at] = unit;
      at += 1;
    }
    this.#length = at;
    return offset;
  }

  /** Hash of what has been written from `offset` on. */
  murmur3From(offset: number): number {
    return murmur3(this.#bytes, offset, this.#length);
  }

  #ensure(byteCount: number): void {
    if (byteCount <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(byteCount, this.#bytes.length * 2));
    grown.set(this.#bytes.subarray(0, this.#length));
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}
