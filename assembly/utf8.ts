const HIGH_BITS: u64 = 0x8080808080808080;

/** Is this run of bytes well-formed UTF-8: no overlong forms, no surrogates, nothing above U+10FFFF? */
// @ts-expect-error: decorator
@inline
export function isUtf8(at: usize, byteCount: usize): bool {
  return (byteCount < 32 && isShortAscii(at, byteCount)) || isWellFormed(at, byteCount);
}

/** Less than 32 bytes of ASCII, which most names and many values are. Reads 32 bytes whatever the length. */
// @ts-expect-error: decorator
@inline
export function isShortAscii(at: usize, byteCount: usize): bool {
  let high = i8x16.bitmask(v128.load(at));
  if (byteCount > 16) high |= i8x16.bitmask(v128.load(at, 16)) << 16;
  return (high & ((1 << <i32>byteCount) - 1)) === 0;
}

function isWellFormed(at: usize, byteCount: usize): bool {
  return isAscii(at, byteCount) || isWide(at, byteCount);
}

/** Eight bytes at a time, the last ones once more; a shorter text that comes here is not ASCII. */
function isAscii(at: usize, byteCount: usize): bool {
  if (byteCount < 8) return false;
  const last = at + byteCount - 8;
  let seen = load<u64>(last);
  for (; at < last; at += 8) seen |= load<u64>(at);
  return (seen & HIGH_BITS) === 0;
}

/** Mask of the first `count` < 8 bytes of a word. */
// @ts-expect-error: decorator
@inline
export function lowBytes(count: usize): u64 {
  return ((<u64>1) << (<u64>count << 3)) - 1;
}

function isWide(at: usize, byteCount: usize): bool {
  const end = at + byteCount;
  while (at < end) {
    while (at + 8 <= end && (load<u64>(at) & HIGH_BITS) === 0) at += 8;
    if (at === end) return true;
    const first = <u32>load<u8>(at);
    if (first < 0x80) {
      ++at;
    } else if (first < 0xe0) {
      if (first < 0xc2 || at + 2 > end || !isContinuation(at + 1)) return false;
      at += 2;
    } else if (first < 0xf0) {
      if (at + 3 > end || !isContinuation(at + 1) || !isContinuation(at + 2)) return false;
      const second = <u32>load<u8>(at, 1);
      if (first === 0xe0 && second < 0xa0) return false;
      if (first === 0xed && second >= 0xa0) return false;
      at += 3;
    } else {
      if (first > 0xf4 || at + 4 > end) return false;
      if (!isContinuation(at + 1) || !isContinuation(at + 2) || !isContinuation(at + 3)) return false;
      const second = <u32>load<u8>(at, 1);
      if (first === 0xf0 && second < 0x90) return false;
      if (first === 0xf4 && second >= 0x90) return false;
      at += 4;
    }
  }
  return true;
}

// @ts-expect-error: decorator
@inline
function isContinuation(at: usize): bool {
  return (load<u8>(at) & 0xc0) === 0x80;
}
