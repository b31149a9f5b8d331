import { FOLD_DELTA, FOLD_FIRST, FOLD_LAST, FOLD_RANGES, FOLD_STRIDE } from "./case-folding";
import { MSGPACK_FOLD_BUFFER_BYTES, THREAD_FOLD_BUFFER, THREAD_FOLD_BYTES, THREAD_FOLD_SOURCE, THREAD_FOLD_STAMP, THREAD_STAMP } from "./layout";

/**
 * Writes the simple case folding of a string into the fold buffer. A folded code point has at most one byte more than before and
 * only where it had two or more, so the longest context string fits twice. The buffer remembers the string it holds: clauses that
 * ask for the same attribute fold it once.
 */
export function foldText(thread: usize, address: usize, byteCount: u32): void {
  const stamp = load<u32>(thread, THREAD_STAMP);
  if (load<u32>(thread, THREAD_FOLD_STAMP) === stamp && load<u32>(thread, THREAD_FOLD_SOURCE) === <u32>address) return;
  store<u32>(thread, stamp, THREAD_FOLD_STAMP);
  store<u32>(thread, <u32>address, THREAD_FOLD_SOURCE);
  const buffer = <usize>load<u32>(thread, THREAD_FOLD_BUFFER);
  const limit = buffer + MSGPACK_FOLD_BUFFER_BYTES - 4;
  const end = address + byteCount;
  let to = buffer;
  while (address < end && to < limit) {
    const first = <u32>load<u8>(address);
    if (first < 0x80) {
      store<u8>(to, first - 0x41 < 26 ? first + 32 : first);
      address += 1;
      to += 1;
    } else if (first < 0xe0) {
      to = encode(to, fold(((first & 0x1f) << 6) | continuation(address + 1)));
      address += 2;
    } else if (first < 0xf0) {
      to = encode(to, fold(((first & 0x0f) << 12) | (continuation(address + 1) << 6) | continuation(address + 2)));
      address += 3;
    } else {
      const high = ((first & 0x07) << 18) | (continuation(address + 1) << 12);
      to = encode(to, fold(high | (continuation(address + 2) << 6) | continuation(address + 3)));
      address += 4;
    }
  }
  store<u32>(thread, <u32>(to - buffer), THREAD_FOLD_BYTES);
}

// @ts-expect-error: decorator
@inline
function continuation(at: usize): u32 {
  return <u32>load<u8>(at) & 0x3f;
}

function encode(to: usize, codePoint: u32): usize {
  if (codePoint < 0x80) {
    store<u8>(to, codePoint);
    return to + 1;
  }
  if (codePoint < 0x800) {
    store<u8>(to, 0xc0 | (codePoint >> 6));
    store<u8>(to, 0x80 | (codePoint & 0x3f), 1);
    return to + 2;
  }
  if (codePoint < 0x10000) {
    store<u8>(to, 0xe0 | (codePoint >> 12));
    store<u8>(to, 0x80 | ((codePoint >> 6) & 0x3f), 1);
    store<u8>(to, 0x80 | (codePoint & 0x3f), 2);
    return to + 3;
  }
  store<u8>(to, 0xf0 | (codePoint >> 18));
  store<u8>(to, 0x80 | ((codePoint >> 12) & 0x3f), 1);
  store<u8>(to, 0x80 | ((codePoint >> 6) & 0x3f), 2);
  store<u8>(to, 0x80 | (codePoint & 0x3f), 3);
  return to + 4;
}

/** Ranges are sorted and do not overlap. */
function fold(codePoint: u32): u32 {
  let low: usize = 0;
  let high: usize = FOLD_RANGES;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(FOLD_FIRST + (middle << 2)) <= codePoint) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return codePoint;
  const range = (low - 1) << 2;
  if (codePoint > load<u32>(FOLD_LAST + range)) return codePoint;
  const offset = codePoint - load<u32>(FOLD_FIRST + range);
  return offset % load<u32>(FOLD_STRIDE + range) === 0 ? codePoint + load<u32>(FOLD_DELTA + range) : codePoint;
}
