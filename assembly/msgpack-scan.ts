import { equalBytes } from "./bytes";
import {
  MSGPACK_DEPTH_MAX,
  MSGPACK_MEMBERS_MAX,
  THREAD_DEPTH_MAX,
  THREAD_ERROR_OFFSET,
  THREAD_KEY_TABLE,
  THREAD_KEY_TOP,
  THREAD_MEMBERS,
  THREAD_BODY,
  THREAD_SEED,
} from "./layout";
import { isShortAscii, isUtf8 } from "./utf8";

/**
 * The strict msgpack reader: walks untrusted bytes once and refuses what docs/evaluation.md calls malformed. Functions return the
 * address after what they read, or 0 = malformed. decode-strict-msgpack.ts accepts exactly the same. Everything that walks the body
 * later relies on having been through here and checks no bounds again.
 */
export function malformed(thread: usize, at: usize): usize {
  store<u32>(thread, <u32>(at - load<u32>(thread, THREAD_BODY)), THREAD_ERROR_OFFSET);
  return 0;
}

/** Text of a string: address in the high half, bytes in the low one; 0 = no string, or it does not end before `end`. */
export function readText(at: usize, end: usize): u64 {
  if (at >= end) return 0;
  const first = <u32>load<u8>(at);
  let length: usize;
  if ((first & 0xe0) === 0xa0) {
    length = first & 0x1f;
    at += 1;
  } else if (first === 0xd9) {
    if (end - at < 2) return 0;
    length = load<u8>(at, 1);
    at += 2;
  } else if (first === 0xda) {
    if (end - at < 3) return 0;
    length = bswap<u16>(load<u16>(at, 1));
    at += 3;
  } else if (first === 0xdb) {
    if (end - at < 5) return 0;
    length = bswap<u32>(load<u32>(at, 1));
    at += 5;
  } else {
    return 0;
  }
  return length > end - at ? 0 : (<u64>at << 32) | <u64>length;
}

/** readText, short names first. */
// @ts-expect-error: decorator
@inline
export function readName(at: usize, end: usize): u64 {
  if (at < end) {
    const length = <usize>load<u8>(at) - 0xa0;
    if (length < 0x20 && length < end - at) return (<u64>(at + 1) << 32) | <u64>length;
  }
  return readText(at, end);
}

// @ts-expect-error: decorator
@inline
export function textAddress(text: u64): usize {
  return <usize>(text >> 32);
}

// @ts-expect-error: decorator
@inline
export function textBytes(text: u64): usize {
  return <usize>(text & 0xffffffff);
}

/** Address after a value of the commonest kinds, found without a call: a small number, a short ASCII string. 0 = scanValue has to look. */
// @ts-expect-error: decorator
@inline
export function scanCommon(at: usize, end: usize): usize {
  if (at >= end) return 0;
  const first = <u32>load<u8>(at);
  if (first < 0x80) return at + 1;
  const length = <usize>(first - 0xa0);
  return length < 0x20 && length < end - at && isShortAscii(at + 1, length) ? at + 1 + length : 0;
}

/** `depth` is that of the value if it is a container: the body is 1. */
export function scanValue(thread: usize, at: usize, end: usize, depth: u32): usize {
  if (at >= end) return malformed(thread, at);
  const first = <u32>load<u8>(at);
  if (first < 0x80 || first >= 0xe0) return at + 1;
  if (first < 0x90) return scanMap(thread, at + 1, end, first & 0x0f, depth);
  if (first < 0xa0) return scanArray(thread, at + 1, end, first & 0x0f, depth);
  const rest = end - at;
  if (first < 0xc0) {
    const length = <usize>(first & 0x1f);
    return length < rest && isUtf8(at + 1, length) ? at + 1 + length : malformed(thread, at);
  }
  switch (first) {
    case 0xc0:
    case 0xc2:
    case 0xc3:
      return at + 1;
    case 0xcc:
    case 0xd0:
      return rest >= 2 ? at + 2 : malformed(thread, at);
    case 0xcd:
    case 0xd1:
      return rest >= 3 ? at + 3 : malformed(thread, at);
    case 0xca:
    case 0xce:
    case 0xd2:
      return rest >= 5 ? at + 5 : malformed(thread, at);
    case 0xcb:
    case 0xcf:
    case 0xd3:
      return rest >= 9 ? at + 9 : malformed(thread, at);
    case 0xc7:
    case 0xd6:
    case 0xd7: {
      const next = scanTimestamp(at, end, first);
      return next === 0 ? malformed(thread, at) : next;
    }
    case 0xdc:
      if (rest < 3) return malformed(thread, at);
      return scanArray(thread, at + 3, end, bswap<u16>(load<u16>(at, 1)), depth);
    case 0xdd:
      if (rest < 5) return malformed(thread, at);
      return scanArray(thread, at + 5, end, bswap<u32>(load<u32>(at, 1)), depth);
    case 0xde:
      if (rest < 3) return malformed(thread, at);
      return scanMap(thread, at + 3, end, bswap<u16>(load<u16>(at, 1)), depth);
    case 0xdf:
      if (rest < 5) return malformed(thread, at);
      return scanMap(thread, at + 5, end, bswap<u32>(load<u32>(at, 1)), depth);
    default: {
      const text = readText(at, end);
      if (text === 0 || !isUtf8(textAddress(text), textBytes(text))) return malformed(thread, at);
      return textAddress(text) + textBytes(text);
    }
  }
}

/** Extension -1 in its three forms; nanoseconds below one second. */
function scanTimestamp(at: usize, end: usize, first: u32): usize {
  if (first === 0xd6) return end - at >= 6 && load<u8>(at, 1) === 0xff ? at + 6 : 0;
  if (first === 0xd7) {
    if (end - at < 10 || load<u8>(at, 1) !== 0xff) return 0;
    return bswap<u64>(load<u64>(at, 2)) >> 34 <= 999_999_999 ? at + 10 : 0;
  }
  if (end - at < 15 || load<u8>(at, 1) !== 12 || load<u8>(at, 2) !== 0xff) return 0;
  return bswap<u32>(load<u32>(at, 3)) <= 999_999_999 ? at + 15 : 0;
}

function scanArray(thread: usize, at: usize, end: usize, count: usize, depth: u32): usize {
  // Each element has at least one byte, so a count that cannot be true costs nothing.
  if (depth > MSGPACK_DEPTH_MAX || count > end - at) return malformed(thread, at);
  if (depth > load<u32>(thread, THREAD_DEPTH_MAX)) store<u32>(thread, depth, THREAD_DEPTH_MAX);
  for (; count > 0; --count) {
    const next = scanCommon(at, end);
    at = next !== 0 ? next : scanValue(thread, at, end, depth + 1);
    if (at === 0) return 0;
  }
  return at;
}

function scanMap(thread: usize, at: usize, end: usize, count: usize, depth: u32): usize {
  if (!enterMap(thread, at, end, count, depth)) return malformed(thread, at);
  const keysBase = <usize>load<u32>(thread, THREAD_KEY_TOP);
  let seen: u64 = 0;
  for (let index: usize = 0; index < count; ++index) {
    const text = readText(at, end);
    const address = textAddress(text);
    const length = textBytes(text);
    if (text === 0 || !isUtf8(address, length)) return malformed(thread, at);
    const mark = keyMark(address, length);
    if (seen & mark && hasKey(keysBase, <usize>load<u32>(thread, THREAD_KEY_TOP), address, length)) return malformed(thread, at);
    seen |= mark;
    pushKey(thread, text);
    at = scanValue(thread, address + length, end, depth + 1);
    if (at === 0) return 0;
  }
  return leaveMap(thread, keysBase) ? at : malformed(thread, at);
}

/** Bounds of a map about to be read, and its share of what a context may have. */
// @ts-expect-error: decorator
@inline
export function enterMap(thread: usize, at: usize, end: usize, count: usize, depth: u32): bool {
  if (depth > MSGPACK_DEPTH_MAX || count > MSGPACK_MEMBERS_MAX || count * 2 > end - at) return false;
  if (depth > load<u32>(thread, THREAD_DEPTH_MAX)) store<u32>(thread, depth, THREAD_DEPTH_MAX);
  store<u32>(thread, load<u32>(thread, THREAD_MEMBERS) + <u32>count, THREAD_MEMBERS);
  return true;
}

/** One bit of 64: keys with different bits differ. */
// @ts-expect-error: decorator
@inline
export function keyMark(address: usize, length: usize): u64 {
  if (length === 0) return 1;
  return (<u64>1) << <u64>((<u32>load<u8>(address) * 7 + <u32>load<u8>(address + length - 1) * 31 + <u32>length * 3) & 63);
}

// @ts-expect-error: decorator
@inline
export function pushKey(thread: usize, text: u64): void {
  const top = <usize>load<u32>(thread, THREAD_KEY_TOP);
  store<u64>(top, text);
  store<u32>(thread, <u32>(top + 8), THREAD_KEY_TOP);
}

/** Up to so many keys of one map each new one is compared with those of the same mark; more are compared at the end, by hash. */
const SCANNED_KEYS_MAX: usize = 16;

export function hasKey(keysBase: usize, keysTop: usize, address: usize, length: usize): bool {
  // Beyond this number leaveMap compares all of them: no map makes this loop long.
  if (keysTop - keysBase > SCANNED_KEYS_MAX * 8) return false;
  for (let at = keysBase; at < keysTop; at += 8) {
    const text = load<u64>(at);
    if (textBytes(text) === length && equalBytes(textAddress(text), address, length)) return true;
  }
  return false;
}

/** Pops the keys of a map; false when one was there twice. */
// @ts-expect-error: decorator
@inline
export function leaveMap(thread: usize, keysBase: usize): bool {
  const keysTop = <usize>load<u32>(thread, THREAD_KEY_TOP);
  store<u32>(thread, <u32>keysBase, THREAD_KEY_TOP);
  if (keysTop - keysBase <= SCANNED_KEYS_MAX * 8) return true;
  return areDistinct(thread, keysBase, keysTop);
}

/** Hashes with the secret of this process, so that no body can be built whose keys collide. */
function areDistinct(thread: usize, keysBase: usize, keysTop: usize): bool {
  const count = <u32>((keysTop - keysBase) >> 3);
  let tableCount: u32 = 64;
  while (tableCount < count * 2) tableCount <<= 1;
  const mask = tableCount - 1;
  const table = <usize>load<u32>(thread, THREAD_KEY_TABLE);
  memory.fill(table, 0, <usize>tableCount << 3);
  const seed = load<u64>(thread, THREAD_SEED);
  for (let at = keysBase; at < keysTop; at += 8) {
    const text = load<u64>(at);
    const address = textAddress(text);
    const length = textBytes(text);
    let place = <u32>seededHash(seed, address, length) & mask;
    while (true) {
      const other = load<u64>(table + (<usize>place << 3));
      if (other === 0) break;
      if (textBytes(other) === length && equalBytes(textAddress(other), address, length)) return false;
      place = (place + 1) & mask;
    }
    store<u64>(table + (<usize>place << 3), text);
  }
  return true;
}

function seededHash(seed: u64, at: usize, byteCount: usize): u64 {
  let h: u64 = seed ^ <u64>byteCount;
  const end = at + byteCount;
  for (; at + 8 <= end; at += 8) h = mixSeeded(h ^ load<u64>(at), seed);
  let tail: u64 = 0;
  for (; at < end; ++at) tail = (tail << 8) | <u64>load<u8>(at);
  return mixSeeded(mixSeeded(h ^ tail, seed), seed) >> 32;
}

// @ts-expect-error: decorator
@inline
function mixSeeded(h: u64, seed: u64): u64 {
  h = (h ^ (h >> 32)) * 0x9e3779b97f4a7c15;
  return rotl<u64>(h ^ (h >> 29), 31) + seed;
}
