import { crc32 } from 'node:zlib';
import { PlatformError } from '@guidon/protocol';

/**
 * Rows are JSON text behind the CRC-32 of it: LMDB has no page checksums (M5), so a flipped bit is found here instead of being
 * served. JSON and not msgpack because records hold values of tenants, whose member names (`__proto__` is one) must come back as written (M16).
 *
 *   off size type  field
 *     0    4 u32   CRC-32 of the rest, little-endian
 *     4    - utf8  JSON text, or raw bytes for definitions
 */
const HEADER_BYTES = 4;

export function encodeRecord(value: unknown): Buffer {
  const text = JSON.stringify(value);
  const row = newRow(Buffer.byteLength(text));
  row.write(text, HEADER_BYTES);
  return sealed(row);
}

/** The caller names the type that it wrote under this key; the check sum holds the bytes to what was written. */
export function decodeRecord<Value>(row: Buffer): Value {
  return JSON.parse(decodeBytes(row).toString('utf8')) as Value;
}

export function encodeBytes(bytes: Uint8Array): Buffer {
  const row = newRow(bytes.length);
  row.set(bytes, HEADER_BYTES);
  return sealed(row);
}

/** Memory of its own: rows are kept (row-cache.ts), and one out of Node's shared slabs would keep 8 KiB of others with it. 0.7 us each. */
function newRow(bytes: number): Buffer {
  return Buffer.allocUnsafeSlow(HEADER_BYTES + bytes);
}

function sealed(row: Buffer): Buffer {
  row.writeUInt32LE(crc32(row.subarray(HEADER_BYTES)), 0);
  return row;
}

export function decodeBytes(row: Buffer): Buffer {
  const bytes = row.subarray(HEADER_BYTES);
  if (row.length < HEADER_BYTES || row.readUInt32LE(0) !== crc32(bytes)) {
    throw new PlatformError('storage-unavailable', 'a stored row is damaged');
  }
  return bytes;
}
