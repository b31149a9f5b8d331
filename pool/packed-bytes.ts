import type { PackedBytes } from './compile-task.js';

/** Copies `arrays` behind one another, so that one buffer is transferred instead of thousands of arrays being cloned. */
export function packBytes(arrays: readonly Uint8Array[]): PackedBytes {
  const lengths = arrays.map((array) => array.length);
  const buffer = new ArrayBuffer(lengths.reduce((sum, length) => sum + length, 0));
  const bytes = new Uint8Array(buffer);
  let offset = 0;
  for (const array of arrays) {
    bytes.set(array, offset);
    offset += array.length;
  }
  return { buffer, lengths };
}

/** Views into the packed buffer, in order. They keep the whole buffer alive: copy what lives long. */
export function unpackBytes({ buffer, lengths }: PackedBytes): Uint8Array[] {
  let offset = 0;
  return lengths.map((length) => {
    offset += length;
    return new Uint8Array(buffer, offset - length, length);
  });
}
