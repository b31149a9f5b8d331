import { HASH_PREFIX_LENGTH, HASH_PREFIX_STATE, HASH_PREFIX_TAIL, HASH_PREFIX_TAIL_BYTES } from "./layout";
import { lowBytes } from "./utf8";

/** Copies in steps of 16 bytes, so it may write up to 15 bytes past the end: every destination has COPY_SLACK_BYTES to spare. */
// @ts-expect-error: decorator
@inline
export function copyBytes(to: usize, from: usize, byteCount: usize): void {
  if (byteCount > 256) {
    memory.copy(to, from, byteCount);
    return;
  }
  for (let at: usize = 0; at < byteCount; at += 16) v128.store(to + at, v128.load(from + at));
}

/** Reads up to 7 bytes past a short end, which every allocation and the request region have to spare. */
export function equalBytes(a: usize, b: usize, byteCount: usize): bool {
  if (byteCount >= 8) {
    const last = byteCount - 8;
    for (let at: usize = 0; at < last; at += 8) {
      if (load<u64>(a + at) !== load<u64>(b + at)) return false;
    }
    return load<u64>(a + last) === load<u64>(b + last);
  }
  return ((load<u64>(a) ^ load<u64>(b)) & lowBytes(byteCount)) === 0;
}

// @ts-expect-error: decorator
@inline
function mixWord(word: u32): u32 {
  return rotl<u32>(word * 0xcc9e2d51, 15) * 0x1b873593;
}

// @ts-expect-error: decorator
@inline
function mixState(state: u32, word: u32): u32 {
  return rotl<u32>(state ^ mixWord(word), 13) * 5 + 0xe6546b64;
}

// @ts-expect-error: decorator
@inline
function finishHash(state: u32, byteCount: u32): u32 {
  let h = state ^ byteCount;
  h = (h ^ (h >> 16)) * 0x85ebca6b;
  h = (h ^ (h >> 13)) * 0xc2b2ae35;
  return h ^ (h >> 16);
}

// @ts-expect-error: decorator
@inline
function mixNameWord(word: u64): u64 {
  return rotl<u64>(word * 0x9e3779b97f4a7c15, 29);
}

/**
 * Hash of a name (an attribute, a kind, a flag key), the same as in engine/compile/name-hash.ts: all of it, so that names cannot be
 * made alike by what lies between. What is found by it is compared byte by byte; the compiler bounds how many those are.
 */
export function nameHash(at: usize, byteCount: usize): u32 {
  let h: u64 = <u64>byteCount * 0x165667b19e3779f9;
  for (; byteCount >= 8; byteCount -= 8) {
    h = mixNameWord(h ^ load<u64>(at));
    at += 8;
  }
  if (byteCount !== 0) h = mixNameWord(h ^ (load<u64>(at) & lowBytes(byteCount)));
  h = (h ^ (h >> 29)) * 0xbf58476d1ce4e5b9;
  return <u32>(h >> 32);
}

/** The last 0-3 bytes, little-endian. */
// @ts-expect-error: decorator
@inline
function loadTail(at: usize, byteCount: usize): u32 {
  let tail: u32 = 0;
  if (byteCount & 2) {
    tail = load<u16>(at);
    if (byteCount & 1) tail |= <u32>load<u8>(at + 2) << 16;
  } else if (byteCount & 1) {
    tail = load<u8>(at);
  }
  return tail;
}

/** murmur3_x86_32, seed 0. */
export function murmur3(at: usize, byteCount: usize): u32 {
  let state: u32 = 0;
  const wordsEnd = at + (byteCount & ~3);
  let word = at;
  for (; word < wordsEnd; word += 4) state = mixState(state, load<u32>(word));
  if (byteCount & 3) state ^= mixWord(loadTail(word, byteCount & 3));
  return finishHash(state, <u32>byteCount);
}

/** murmur3_x86_32 of a fixed prefix (a HASH_PREFIX, hashed when it was compiled) and the bytes that follow it. */
export function murmur3After(prefix: usize, at: usize, byteCount: usize): u32 {
  let state = load<u32>(prefix, HASH_PREFIX_STATE);
  let carry = <u64>load<u32>(prefix, HASH_PREFIX_TAIL);
  let carryBytes = load<u32>(prefix, HASH_PREFIX_TAIL_BYTES);
  const shift = <u64>carryBytes << 3;
  const wordsEnd = at + (byteCount & ~3);
  let word = at;
  for (; word < wordsEnd; word += 4) {
    carry |= <u64>load<u32>(word) << shift;
    state = mixState(state, <u32>carry);
    carry >>= 32;
  }
  const rest = byteCount & 3;
  carry |= <u64>loadTail(word, rest) << shift;
  carryBytes += <u32>rest;
  if (carryBytes >= 4) {
    state = mixState(state, <u32>carry);
    carry >>= 32;
    carryBytes -= 4;
  }
  if (carryBytes > 0) state ^= mixWord(<u32>carry);
  return finishHash(state, load<u32>(prefix, HASH_PREFIX_LENGTH) + <u32>byteCount);
}
