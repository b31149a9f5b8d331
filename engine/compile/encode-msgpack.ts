import type { Json } from '@guidon/protocol';
import { ByteWriter } from './byte-writer.js';

/**
 * Appends the canonical msgpack of a JSON value: shortest headers, members in the order they have, integers of at most 2^53 - 1 as
 * msgpack integers (-0 is 0), other numbers as float64. The kernel writes answers the same way, so they compare byte for byte.
 */
export function writeMsgpack(writer: ByteWriter, value: Json): void {
  if (value === null) writeByte(writer, 0xc0);
  else if (typeof value === 'boolean') writeByte(writer, value ? 0xc3 : 0xc2);
  else if (typeof value === 'number') writeNumber(writer, value);
  else if (typeof value === 'string') writeString(writer, value);
  else if (isArray(value)) {
    writeHeader(writer, value.length, 0x90, 0xdc);
    for (const element of value) writeMsgpack(writer, element);
  } else {
    const names = Object.keys(value);
    writeHeader(writer, names.length, 0x80, 0xde);
    for (const name of names) {
      writeString(writer, name);
      // Own names only come from Object.keys, `__proto__` included; a plain read is right for each of them.
      writeMsgpack(writer, value[name] ?? null);
    }
  }
}

/** Canonical msgpack of a JSON value, see `writeMsgpack`. */
export function encodeMsgpack(value: Json): Uint8Array {
  const writer = new ByteWriter();
  writeMsgpack(writer, value);
  return writer.finish();
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value);
}

function writeByte(writer: ByteWriter, byte: number): void {
  writer.u8(writer.reserve(1, 1), byte);
}

function writeBigEndian(writer: ByteWriter, prefix: number, value: number, byteCount: number): void {
  const offset = writer.reserve(1 + byteCount, 1);
  writer.u8(offset, prefix);
  for (let index = byteCount; index > 0; index -= 1) {
    writer.u8(offset + index, value & 0xff);
    value = Math.floor(value / 256);
  }
}

function writeNumber(writer: ByteWriter, value: number): void {
  if (!Number.isSafeInteger(value)) {
    const offset = writer.reserve(9, 1);
    writer.u8(offset, 0xcb);
    writer.u64(offset + 1, swapBytes(value));
  } else if (value >= 0) {
    if (value < 0x80) writeByte(writer, value);
    else if (value <= 0xff) writeBigEndian(writer, 0xcc, value, 1);
    else if (value <= 0xffff) writeBigEndian(writer, 0xcd, value, 2);
    else if (value <= 0xffffffff) writeBigEndian(writer, 0xce, value, 4);
    else writeBigEndian(writer, 0xcf, value, 8);
  } else if (value >= -0x20) writeByte(writer, value & 0xff);
  else if (value >= -0x80) writeBigEndian(writer, 0xd0, value, 1);
  else if (value >= -0x8000) writeBigEndian(writer, 0xd1, value, 2);
  else if (value >= -0x80000000) writeBigEndian(writer, 0xd2, value, 4);
  else writeBigEndian(writer, 0xd3, value, 8);
}

const swapView = new DataView(new ArrayBuffer(8));
function swapBytes(value: number): bigint {
  swapView.setFloat64(0, value, false);
  return swapView.getBigUint64(0, true);
}

/** Appends one string with the shortest header. */
export function writeString(writer: ByteWriter, value: string): void {
  if (value.length < 0x20) {
    const start = writer.reserve(1, 1);
    writer.text(value);
    const byteCount = writer.length - start - 1;
    if (byteCount < 0x20) {
      writer.u8(start, 0xa0 | byteCount);
      return;
    }
    writer.truncate(start);
  }
  const bytes = Buffer.from(value, 'utf8');
  if (bytes.length < 0x20) writeByte(writer, 0xa0 | bytes.length);
  else if (bytes.length <= 0xff) writeBigEndian(writer, 0xd9, bytes.length, 1);
  else writeBigEndian(writer, bytes.length <= 0xffff ? 0xda : 0xdb, bytes.length, bytes.length <= 0xffff ? 2 : 4);
  writer.append(bytes);
}

/** `fix` holds counts below 16; `wide` is the 16-bit form and the byte after it the 32-bit form. */
function writeHeader(writer: ByteWriter, count: number, fix: number, wide: number): void {
  if (count < 16) writeByte(writer, fix | count);
  else if (count <= 0xffff) writeBigEndian(writer, wide, count, 2);
  else writeBigEndian(writer, wide + 1, count, 4);
}
