import { PlatformError } from './platform-error.js';

/**
 * One pass over untrusted msgpack before a general decoder may see it (M16): bounded depth and item count, string keys only, no
 * duplicate or prototype-named key, no extension, no 0xc1, no integer beyond 2^53, well-formed UTF-8, nothing after the value.
 * Throws `malformed-body` naming the offset. Costs no allocation but the key sets of maps.
 */
export function assertPlainMsgpack(bytes: Uint8Array, bounds: { depthMax?: number; itemsMax?: number } = {}): void {
  const scan: Scan = {
    bytes,
    view: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    offset: 0,
    itemsLeft: bounds.itemsMax ?? 50_000,
  };
  scanValue(scan, bounds.depthMax ?? 32);
  if (scan.offset !== bytes.length) refuse(scan, 'bytes after the value');
}

interface Scan {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  offset: number;
  itemsLeft: number;
}

const FORBIDDEN_KEYS = new Set(['__proto__', 'constructor', 'prototype']);
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function scanValue(scan: Scan, depthLeft: number): void {
  scan.itemsLeft -= 1;
  if (scan.itemsLeft < 0) refuse(scan, 'too many items');
  const head = readUint(scan, 1);
  if (head <= 0x7f || head >= 0xe0) return;
  if (head <= 0x8f) scanMap(scan, head & 0x0f, depthLeft);
  else if (head <= 0x9f) scanArray(scan, head & 0x0f, depthLeft);
  else if (head <= 0xbf) readString(scan, head & 0x1f);
  else scanHeaded(scan, head, depthLeft);
}

/** Values whose head byte is 0xc0..0xdf. The low bits of a head choose the width of the length or number after it. */
function scanHeaded(scan: Scan, head: number, depthLeft: number): void {
  if (head === 0xc0 || head === 0xc2 || head === 0xc3) return;
  if (head >= 0xc4 && head <= 0xc6) skip(scan, readUint(scan, 1 << (head - 0xc4)));
  else if (head === 0xca || head === 0xcb) skip(scan, head === 0xca ? 4 : 8);
  else if (head >= 0xcc && head <= 0xce) skip(scan, 1 << (head - 0xcc));
  else if (head >= 0xd0 && head <= 0xd2) skip(scan, 1 << (head - 0xd0));
  else if (head === 0xcf || head === 0xd3) scanWideInteger(scan, head === 0xd3);
  else if (head >= 0xd9 && head <= 0xdb) readString(scan, readUint(scan, 1 << (head - 0xd9)));
  else if (head === 0xdc || head === 0xdd) scanArray(scan, readUint(scan, head === 0xdc ? 2 : 4), depthLeft);
  else if (head === 0xde || head === 0xdf) scanMap(scan, readUint(scan, head === 0xde ? 2 : 4), depthLeft);
  else refuse(scan, 'an extension or reserved byte');
}

function scanArray(scan: Scan, count: number, depthLeft: number): void {
  enter(scan, count, depthLeft);
  for (let index = 0; index < count; index += 1) scanValue(scan, depthLeft - 1);
}

function scanMap(scan: Scan, count: number, depthLeft: number): void {
  enter(scan, count, depthLeft);
  const keys = new Set<string>();
  for (let index = 0; index < count; index += 1) {
    const key = readKey(scan);
    if (FORBIDDEN_KEYS.has(key) || keys.has(key)) refuse(scan, 'a duplicate or forbidden key');
    keys.add(key);
    scanValue(scan, depthLeft - 1);
  }
}

function readKey(scan: Scan): string {
  const head = readUint(scan, 1);
  if (head >= 0xa0 && head <= 0xbf) return readString(scan, head & 0x1f);
  if (head >= 0xd9 && head <= 0xdb) return readString(scan, readUint(scan, 1 << (head - 0xd9)));
  return refuse(scan, 'a key that is not a string');
}

/** A count can claim no more members than bytes are left: a 5-byte array header costs nothing. */
function enter(scan: Scan, count: number, depthLeft: number): void {
  if (depthLeft <= 0) refuse(scan, 'nested too deep');
  if (count > scan.bytes.length - scan.offset) refuse(scan, 'a count larger than the rest');
}

function scanWideInteger(scan: Scan, isSigned: boolean): void {
  const from = scan.offset;
  skip(scan, 8);
  const value = isSigned ? scan.view.getBigInt64(from) : scan.view.getBigUint64(from);
  if (value > Number.MAX_SAFE_INTEGER || value < Number.MIN_SAFE_INTEGER) refuse(scan, 'an integer beyond 2^53');
}

function readString(scan: Scan, byteCount: number): string {
  const from = scan.offset;
  skip(scan, byteCount);
  try {
    return utf8.decode(scan.bytes.subarray(from, from + byteCount));
  } catch {
    return refuse(scan, 'ill-formed UTF-8');
  }
}

function readUint(scan: Scan, byteCount: number): number {
  const from = scan.offset;
  skip(scan, byteCount);
  if (byteCount === 1) return scan.view.getUint8(from);
  return byteCount === 2 ? scan.view.getUint16(from) : scan.view.getUint32(from);
}

function skip(scan: Scan, byteCount: number): void {
  if (byteCount > scan.bytes.length - scan.offset) refuse(scan, 'the end in the middle of a value');
  scan.offset += byteCount;
}

function refuse(scan: Scan, what: string): never {
  throw new PlatformError('malformed-body', `msgpack: ${what} at byte ${scan.offset}`);
}
