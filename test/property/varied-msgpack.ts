/**
 * Encodes a value as msgpack in one of the many ways a client may: `choose(n)` picks below n, e.g. wider headers than needed, floats
 * for integers, a timestamp for an instant. Decoding gives the same value, but for timestamps and rounding, so compare with what
 * `decodeStrictMsgpack` makes of the bytes.
 */
export function encodeVaried(value: unknown, choose: (count: number) => number): Uint8Array {
  const parts: Uint8Array[] = [];
  write(value, choose, parts);
  return Buffer.concat(parts);
}

function write(value: unknown, choose: (count: number) => number, parts: Uint8Array[]): void {
  if (value === null || value === undefined) parts.push(Uint8Array.of(0xc0));
  else if (typeof value === 'boolean') parts.push(Uint8Array.of(value ? 0xc3 : 0xc2));
  else if (typeof value === 'number') parts.push(numberBytes(value, choose));
  else if (typeof value === 'string') writeText(value, choose, parts);
  else if (Array.isArray(value)) {
    parts.push(header(value.length, [0x90, 15], [0xdc, 0xdd], choose));
    for (const element of value) write(element, choose, parts);
  } else {
    const entries = Object.entries(value);
    parts.push(header(entries.length, [0x80, 15], [0xde, 0xdf], choose));
    for (const [name, member] of entries) {
      writeText(name, choose, parts);
      write(member, choose, parts);
    }
  }
}

function writeText(text: string, choose: (count: number) => number, parts: Uint8Array[]): void {
  const bytes = Buffer.from(text, 'utf8');
  parts.push(header(bytes.length, [0xa0, 31], [0xd9, 0xda, 0xdb], choose), bytes);
}

/** The shortest header, or now and then a wider one. `wide` are the forms of 1, 2 and 4 bytes, or of 2 and 4. */
function header(
  count: number,
  [fix, fixMax]: readonly [number, number],
  wide: readonly number[],
  choose: (count: number) => number,
): Uint8Array {
  const widths = wide.length === 3 ? [1, 2, 4] : [2, 4];
  const fitting = widths.findIndex((width) => count < 256 ** width);
  if (count <= fixMax && choose(8) !== 0) return Uint8Array.of(fix | count);
  const index = Math.min(widths.length - 1, fitting + (choose(8) === 0 ? 1 : 0));
  const width = widths[index] ?? 4;
  const bytes = Buffer.alloc(1 + width);
  bytes[0] = wide[index] ?? 0;
  bytes.writeUIntBE(count, 1, width);
  return bytes;
}

function numberBytes(value: number, choose: (count: number) => number): Uint8Array {
  const form = choose(6);
  if (Number.isSafeInteger(value) && form !== 0) {
    if (form === 1 && value >= 0 && value % 1000 === 0 && value < 2 ** 32 * 1000) return timestamp(value / 1000);
    if (value >= 0 && value < 128 && form > 2) return Uint8Array.of(value);
    if (value < 0 && value >= -32 && form > 2) return Uint8Array.of(value & 0xff);
    const bytes = Buffer.alloc(9);
    if (value >= 0 && form === 3) {
      bytes[0] = 0xcf;
      bytes.writeBigUInt64BE(BigInt(value), 1);
    } else {
      bytes[0] = 0xd3;
      bytes.writeBigInt64BE(BigInt(value), 1);
    }
    return bytes;
  }
  if (Object.is(Math.fround(value), value) && form < 3) {
    const bytes = Buffer.alloc(5);
    bytes[0] = 0xca;
    bytes.writeFloatBE(value, 1);
    return bytes;
  }
  const bytes = Buffer.alloc(9);
  bytes[0] = 0xcb;
  bytes.writeDoubleBE(value, 1);
  return bytes;
}

function timestamp(seconds: number): Uint8Array {
  const bytes = Buffer.alloc(6);
  bytes[0] = 0xd6;
  bytes[1] = 0xff;
  bytes.writeUInt32BE(seconds, 2);
  return bytes;
}

/** A small generator of its own, so that one number stands for one way of encoding. */
export function chooserOf(seed: number): (count: number) => number {
  let state = seed | 0 || 1;
  return (count) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % count;
  };
}
