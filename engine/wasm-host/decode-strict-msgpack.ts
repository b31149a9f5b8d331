import { MSGPACK } from '../compile/thread-layout.js';

export type Decoded =
  | { readonly ok: true; readonly value: unknown }
  | { readonly ok: false; readonly detail: string; readonly offset: number };

/** Why bytes are refused, and where. Never leaves this file. */
class Refusal extends Error {
  readonly offset: number;

  constructor(detail: string, offset: number) {
    super(detail);
    this.offset = offset;
  }
}

/**
 * Decodes msgpack as strictly as the kernel reads it: this is its plain twin, used to say what is wrong with a body and to hold the
 * kernel to it. Objects have own members only, `__proto__` included. Integers beyond 2^53 are rounded to the nearest double.
 * `isPrefix`: more may follow the value.
 */
export function decodeStrictMsgpack(bytes: Uint8Array, options: { readonly isPrefix?: boolean } = {}): Decoded {
  const reader = new Reader(bytes);
  try {
    const value = reader.value(1);
    if (options.isPrefix !== true && reader.offset !== bytes.length) throw new Refusal('bytes follow', reader.offset);
    return { ok: true, value };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { ok: false, detail: error.message, offset: error.offset };
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const TIMESTAMP_TYPE = 0xff;
const NANOSECONDS_MAX = 999_999_999;

class Reader {
  offset = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(depth: number): unknown {
    const start = this.offset;
    const first = this.#bytes[this.#take(1, start)] ?? 0;
    if (first < 0x80) return first;
    if (first >= 0xe0) return first - 0x100;
    if (first < 0x90) return this.#map(first & 0x0f, depth, start);
    if (first < 0xa0) return this.#array(first & 0x0f, depth, start);
    if (first < 0xc0) return this.#text(first & 0x1f, start);
    switch (first) {
      case 0xc0:
        return null;
      case 0xc2:
        return false;
      case 0xc3:
        return true;
      case 0xca:
        return this.#view.getFloat32(this.#take(4, start));
      case 0xcb:
        return this.#view.getFloat64(this.#take(8, start));
      case 0xcc:
        return this.#view.getUint8(this.#take(1, start));
      case 0xcd:
        return this.#view.getUint16(this.#take(2, start));
      case 0xce:
        return this.#view.getUint32(this.#take(4, start));
      case 0xcf:
        return Number(this.#view.getBigUint64(this.#take(8, start)));
      case 0xd0:
        return this.#view.getInt8(this.#take(1, start));
      case 0xd1:
        return this.#view.getInt16(this.#take(2, start));
      case 0xd2:
        return this.#view.getInt32(this.#take(4, start));
      case 0xd3:
        return Number(this.#view.getBigInt64(this.#take(8, start)));
      case 0xc7:
      case 0xd6:
      case 0xd7:
        return this.#timestamp(first, start);
      case 0xd9:
        return this.#text(this.#view.getUint8(this.#take(1, start)), start);
      case 0xda:
        return this.#text(this.#view.getUint16(this.#take(2, start)), start);
      case 0xdb:
        return this.#text(this.#view.getUint32(this.#take(4, start)), start);
      case 0xdc:
        return this.#array(this.#view.getUint16(this.#take(2, start)), depth, start);
      case 0xdd:
        return this.#array(this.#view.getUint32(this.#take(4, start)), depth, start);
      case 0xde:
        return this.#map(this.#view.getUint16(this.#take(2, start)), depth, start);
      case 0xdf:
        return this.#map(this.#view.getUint32(this.#take(4, start)), depth, start);
      default:
        throw new Refusal('bin, 0xc1 and extensions other than the timestamp are not accepted', start);
    }
  }

  /** Offset of the next `count` bytes, which are there. */
  #take(count: number, start: number): number {
    const offset = this.offset;
    if (count > this.#bytes.length - offset) throw new Refusal('the body ends inside a value', start);
    this.offset = offset + count;
    return offset;
  }

  #text(byteCount: number, start: number): string {
    const offset = this.#take(byteCount, start);
    try {
      return decoder.decode(this.#bytes.subarray(offset, offset + byteCount));
    } catch {
      throw new Refusal('a string is not well-formed UTF-8', start);
    }
  }

  #timestamp(first: number, start: number): number {
    const isLong = first === 0xc7;
    if (isLong && this.#view.getUint8(this.#take(1, start)) !== 12)
      throw new Refusal('an extension is no timestamp', start);
    if (this.#view.getUint8(this.#take(1, start)) !== TIMESTAMP_TYPE)
      throw new Refusal('an extension is no timestamp', start);
    if (first === 0xd6) return this.#view.getUint32(this.#take(4, start)) * 1000;
    let nanoseconds: number;
    let seconds: number;
    if (isLong) {
      nanoseconds = this.#view.getUint32(this.#take(4, start));
      seconds = Number(this.#view.getBigInt64(this.#take(8, start)));
    } else {
      const packed = this.#view.getBigUint64(this.#take(8, start));
      nanoseconds = Number(packed >> 34n);
      seconds = Number(packed & 0x3ffffffffn);
    }
    if (nanoseconds > NANOSECONDS_MAX) throw new Refusal('a timestamp has more than a second of nanoseconds', start);
    return seconds * 1000 + Math.floor(nanoseconds / 1_000_000);
  }

  #array(count: number, depth: number, start: number): unknown[] {
    this.#enter(depth, count, start);
    const values: unknown[] = [];
    for (let index = 0; index < count; index += 1) values.push(this.value(depth + 1));
    return values;
  }

  #map(count: number, depth: number, start: number): Record<string, unknown> {
    this.#enter(depth, count * 2, start);
    if (count > MSGPACK.membersMax) throw new Refusal(`a map has more than ${MSGPACK.membersMax} members`, start);
    const members = new Map<string, unknown>();
    for (let index = 0; index < count; index += 1) {
      const at = this.offset;
      const first = this.#bytes[at];
      const isText = first !== undefined && ((first & 0xe0) === 0xa0 || (first >= 0xd9 && first <= 0xdb));
      if (!isText) throw new Refusal('the key of a map is no string', at);
      const name = this.value(depth + 1) as string;
      if (members.has(name)) throw new Refusal('a map has the same key twice', at);
      members.set(name, this.value(depth + 1));
    }
    // fromEntries defines own members, whatever their names.
    return Object.fromEntries(members);
  }

  /** Each value has at least one byte, so a count that cannot be true costs nothing. */
  #enter(depth: number, valueCount: number, start: number): void {
    if (depth > MSGPACK.depthMax) throw new Refusal(`more than ${MSGPACK.depthMax} levels`, start);
    if (valueCount > this.#bytes.length - this.offset) throw new Refusal('the body ends inside a value', start);
  }
}
