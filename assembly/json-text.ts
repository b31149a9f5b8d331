import { copyBytes } from "./bytes";
import { jsonFault } from "./json-fault";
import { JSON_FAULT_SYNTAX } from "./layout";

/**
 * Strings of a JSON request as msgpack. Positions are pairs: where the JSON goes on in the high half, where the msgpack goes on in the low
 * one; 0 = malformed. Whether the bytes are UTF-8 is checked by who reads the msgpack: what an escape becomes is whole characters, so it
 * neither mends nor breaks what stands beside it.
 */

export const QUOTE: u32 = 0x22;
const BACKSLASH: u32 = 0x5c;
const SMALL_U: u32 = 0x75;
/** `\u` as a little-endian word. */
const UNICODE_ESCAPE: u32 = 0x755c;
/** What stands for a surrogate without its partner. */
const REPLACEMENT: u32 = 0xfffd;
const NO_UNIT: u32 = 0xffffffff;

// @ts-expect-error: decorator
@inline
export function position(at: usize, to: usize): u64 {
  return (<u64>at << 32) | <u64>to;
}

/** Bit by bit of 16 bytes: quotes, backslashes and control characters. */
// @ts-expect-error: decorator
@inline
function specialBytes(chunk: v128): u32 {
  const ends = v128.or(i8x16.eq(chunk, i8x16.splat(0x22)), i8x16.eq(chunk, i8x16.splat(0x5c)));
  return <u32>i8x16.bitmask(v128.or(ends, i8x16.lt_u(chunk, i8x16.splat(0x20))));
}

/** `at` is behind the opening quote. */
// @ts-expect-error: decorator
@inline
export function transcodeText(thread: usize, at: usize, to: usize): u64 {
  const chunk = v128.load(at);
  const special = specialBytes(chunk);
  if (special !== 0) {
    const length = <usize>ctz<u32>(special);
    if (<u32>load<u8>(at + length) === QUOTE) {
      store<u8>(to, 0xa0 | <u32>length);
      v128.store(to, chunk, 1);
      return position(at + length + 1, to + 1 + length);
    }
  }
  return transcodeLongText(thread, at, to);
}

/** Finds the closing quote first: no string becomes longer, so its length says how long the header is. */
function transcodeLongText(thread: usize, start: usize, to: usize): u64 {
  let hasEscapes = false;
  let at = start;
  while (true) {
    const special = specialBytes(v128.load(at));
    if (special === 0) {
      at += 16;
      continue;
    }
    at += <usize>ctz<u32>(special);
    const byte = <u32>load<u8>(at);
    if (byte === QUOTE) break;
    // The zeros behind the body end every string that is not closed.
    if (byte !== BACKSLASH) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
    hasEscapes = true;
    at += 2;
  }
  const length = at - start;
  const textAt = to + headerBytes(length);
  let written = length;
  if (hasEscapes) {
    const end = decodeEscapes(thread, start, at, textAt);
    if (end === 0) return 0;
    written = end - textAt;
  } else {
    copyBytes(textAt, start, length);
  }
  writeHeader(to, textAt - to, written);
  return position(at + 1, textAt + written);
}

// @ts-expect-error: decorator
@inline
function headerBytes(length: usize): usize {
  if (length < 32) return 1;
  if (length <= 0xff) return 2;
  return length <= 0xffff ? 3 : 5;
}

function writeHeader(to: usize, byteCount: usize, length: usize): void {
  if (byteCount === 1) {
    store<u8>(to, 0xa0 | <u32>length);
  } else if (byteCount === 2) {
    store<u8>(to, 0xd9);
    store<u8>(to, length, 1);
  } else if (byteCount === 3) {
    store<u8>(to, 0xda);
    store<u16>(to, bswap<u16>(<u16>length), 1);
  } else {
    store<u8>(to, 0xdb);
    store<u32>(to, bswap<u32>(<u32>length), 1);
  }
}

/** Returns the address after what it wrote, 0 = malformed. A quote stands at `end`. */
function decodeEscapes(thread: usize, at: usize, end: usize, to: usize): usize {
  while (at < end) {
    const byte = <u32>load<u8>(at);
    if (byte !== BACKSLASH) {
      store<u8>(to, byte);
      ++to;
      ++at;
      continue;
    }
    const name = <u32>load<u8>(at, 1);
    if (name !== SMALL_U) {
      const character = escapedCharacter(name);
      if (character === 0) return <usize>jsonFault(thread, at, JSON_FAULT_SYNTAX);
      store<u8>(to, character);
      ++to;
      at += 2;
      continue;
    }
    let code = hexUnit(at + 2);
    if (code === NO_UNIT) return <usize>jsonFault(thread, at, JSON_FAULT_SYNTAX);
    at += 6;
    if ((code & 0xfc00) === 0xd800 && <u32>load<u16>(at) === UNICODE_ESCAPE) {
      const low = hexUnit(at + 2);
      if ((low & 0xfffffc00) === 0xdc00) {
        code = 0x10000 + ((code & 0x3ff) << 10) + (low & 0x3ff);
        at += 6;
      }
    }
    to = writeCharacter(to, (code & 0xfffff800) === 0xd800 ? REPLACEMENT : code);
  }
  return to;
}

/** What a backslash makes of a character, 0 = it makes nothing of it. */
function escapedCharacter(name: u32): u32 {
  switch (name) {
    case QUOTE:
    case BACKSLASH:
    case 0x2f:
      return name;
    case 0x62:
      return 0x08;
    case 0x66:
      return 0x0c;
    case 0x6e:
      return 0x0a;
    case 0x72:
      return 0x0d;
    case 0x74:
      return 0x09;
    default:
      return 0;
  }
}

/** Value of four hex digits, NO_UNIT when one is none. */
function hexUnit(at: usize): u32 {
  let unit: u32 = 0;
  for (const end = at + 4; at < end; ++at) {
    const byte = <u32>load<u8>(at);
    let digit = byte - 0x30;
    if (digit > 9) {
      digit = (byte | 0x20) - 0x61;
      if (digit > 5) return NO_UNIT;
      digit += 10;
    }
    unit = (unit << 4) | digit;
  }
  return unit;
}

function writeCharacter(to: usize, code: u32): usize {
  if (code < 0x80) {
    store<u8>(to, code);
    return to + 1;
  }
  if (code < 0x800) {
    store<u8>(to, 0xc0 | (code >> 6));
    store<u8>(to, 0x80 | (code & 0x3f), 1);
    return to + 2;
  }
  if (code < 0x10000) {
    store<u8>(to, 0xe0 | (code >> 12));
    store<u8>(to, 0x80 | ((code >> 6) & 0x3f), 1);
    store<u8>(to, 0x80 | (code & 0x3f), 2);
    return to + 3;
  }
  store<u8>(to, 0xf0 | (code >> 18));
  store<u8>(to, 0x80 | ((code >> 12) & 0x3f), 1);
  store<u8>(to, 0x80 | ((code >> 6) & 0x3f), 2);
  store<u8>(to, 0x80 | (code & 0x3f), 3);
  return to + 4;
}
