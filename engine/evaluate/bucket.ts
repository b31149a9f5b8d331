import { ROLLOUT_WEIGHT_TOTAL } from '@guidon/protocol';

const C1 = 0xcc9e2d51;
const C2 = 0x1b873593;

/** murmur3_x86_32 with seed 0, as an unsigned integer. */
export function murmur3(bytes: Uint8Array, byteCount: number = bytes.length): number {
  const blockEnd = byteCount & ~3;
  let hash = 0;
  for (let offset = 0; offset < blockEnd; offset += 4) {
    hash ^= mixBlock(byteAt(bytes, offset) | (byteAt(bytes, offset + 1) << 8) | wordHigh(bytes, offset));
    hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
  }
  let tail = 0;
  for (let offset = byteCount - 1; offset >= blockEnd; offset--) tail = (tail << 8) | byteAt(bytes, offset);
  if (blockEnd < byteCount) hash ^= mixBlock(tail);
  return finish(hash ^ byteCount);
}

function wordHigh(bytes: Uint8Array, offset: number): number {
  return (byteAt(bytes, offset + 2) << 16) | (byteAt(bytes, offset + 3) << 24);
}

function byteAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] ?? 0;
}

function mixBlock(block: number): number {
  const product = Math.imul(block, C1);
  return Math.imul((product << 15) | (product >>> 17), C2);
}

function finish(hash: number): number {
  let mixed = hash ^ (hash >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  mixed ^= mixed >>> 16;
  return mixed >>> 0;
}

const encoder = new TextEncoder();
/** Scratch of hashText, valid inside one call. Longer texts get bytes of their own. */
const scratch = new Uint8Array(2_048);

/** murmur3 of the UTF-8 bytes; a lone surrogate hashes as U+FFFD. */
export function hashText(text: string): number {
  if (text.length * 3 > scratch.length) return murmur3(encoder.encode(text));
  return murmur3(scratch, encoder.encodeInto(text, scratch).written);
}

/** 0 … ROLLOUT_WEIGHT_TOTAL - 1. The product stays below 2^49, so a double holds it exactly. */
export function bucketOf(salt: string, value: string): number {
  return Math.floor((hashText(`${salt}.${value}`) * ROLLOUT_WEIGHT_TOTAL) / 2 ** 32);
}
