/** Bytes that are not what they should be. Never leaves the verifier. */
export class BadBytes extends Error {}

/**
 * Reads one block for the verifier. Everything read is claimed first; a block's parts never overlap, so more claims than bytes mean
 * forged bytes, and verifying takes time in proportion to the block.
 */
export class ByteReader {
  readonly bytes: Uint8Array;
  readonly length: number;
  readonly #view: DataView;
  #unclaimed: number;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
    this.length = bytes.length;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#unclaimed = bytes.length;
  }

  /** `count` records of `recordBytes` at `offset` lie inside the block and behind its header. */
  claim(offset: number, count: number, recordBytes: number, what: string): void {
    const byteCount = count * recordBytes;
    this.#unclaimed -= byteCount;
    if (offset + byteCount > this.length || this.#unclaimed < 0) throw new BadBytes(`${what} lies outside`);
  }

  u8(offset: number): number {
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    return this.#view.getUint16(offset, true);
  }

  u32(offset: number): number {
    return this.#view.getUint32(offset, true);
  }

  u64(offset: number): bigint {
    return this.#view.getBigUint64(offset, true);
  }
}

export function check(condition: boolean, what: string): asserts condition {
  if (!condition) throw new BadBytes(what);
}

/** Linear probing ends at an empty place: there has to be one, and no entry names more than there is. */
export function checkHashTable(reader: ByteReader, offset: number, tableCount: number, entryCount: number): void {
  check(isPowerOfTwo(tableCount), 'the size of a hash table is no power of two');
  reader.claim(offset, tableCount, 4, 'a hash table');
  let emptyCount = 0;
  for (let index = 0; index < tableCount; index += 1) {
    const entry = reader.u32(offset + index * 4);
    check(entry <= entryCount, 'a hash table names an entry that is not there');
    if (entry === 0) emptyCount += 1;
  }
  check(emptyCount > 0, 'a hash table is full');
}

export function isPowerOfTwo(value: number): boolean {
  return value > 0 && Number.isInteger(Math.log2(value));
}
