import { equalBytes, murmur3 } from "./bytes";
import { foldText } from "./fold";
import {
  DERIVED_HASH,
  IN_BOOLEANS,
  IN_NUMBER_COUNT,
  IN_NUMBERS,
  IN_STRINGS,
  OP_CONTAINS,
  OP_CONTAINS_IGNORE_CASE,
  OP_ENDS_WITH,
  OP_STARTS_WITH,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_DERIVED,
  SLOT_STATE_HASH,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_TYPE,
  STRING_ENTRY_BYTES,
  STRING_ENTRY_LENGTH,
  STRING_ENTRY_OFFSET,
  STRING_SET_COUNT,
  STRING_SET_TABLE,
  STRING_SET_TABLE_COUNT,
  TEXT_BYTES,
  TEXT_FAILURE,
  TEXT_LENGTH,
  TEXT_OFFSET,
  THREAD_FOLD_BUFFER,
  THREAD_FOLD_BYTES,
  VALUE_BOOLEAN,
  VALUE_NUMBER,
  VALUE_STRING,
} from "./layout";

/** murmur3 of a string value, computed once per context. */
// @ts-expect-error: decorator
@inline
export function stringHash(state: usize): u32 {
  return load<u16>(state, SLOT_STATE_DERIVED) & DERIVED_HASH ? load<u32>(state, SLOT_STATE_HASH) : computeHash(state);
}

function computeHash(state: usize): u32 {
  const hash = murmur3(<usize>load<u32>(state, SLOT_STATE_ADDRESS), <usize>load<u32>(state, SLOT_STATE_LENGTH));
  store<u32>(state, hash, SLOT_STATE_HASH);
  store<u16>(state, <u16>(load<u16>(state, SLOT_STATE_DERIVED) | DERIVED_HASH), SLOT_STATE_DERIVED);
  return hash;
}

/** Is the string of `state` in the STRING_SET at `set`? Offsets of the set count from `block`. */
export function isInStringSet(block: usize, set: usize, state: usize): bool {
  const hash = stringHash(state);
  const address = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  const length = load<u32>(state, SLOT_STATE_LENGTH);
  const count = load<u32>(set, STRING_SET_COUNT);
  const tableCount = load<u32>(set, STRING_SET_TABLE_COUNT);
  const table = set + STRING_SET_TABLE;
  const hashes = table + (<usize>tableCount << 2);
  const entries = hashes + ((<usize>(count + 3) & ~3) << 2);
  if (tableCount === 0) {
    const wanted = i32x4.splat(hash);
    for (let index: u32 = 0; index < count; index += 4) {
      let lanes = i32x4.bitmask(i32x4.eq(v128.load(hashes + (<usize>index << 2)), wanted));
      while (lanes !== 0) {
        const found = index + <u32>ctz(lanes);
        if (found < count && isEntry(block, entries + <usize>found * STRING_ENTRY_BYTES, address, length)) return true;
        lanes &= lanes - 1;
      }
    }
    return false;
  }
  const mask = tableCount - 1;
  // The verifier saw an empty place, so the walk ends.
  let place = hash & mask;
  while (true) {
    const found = load<u32>(table + (<usize>place << 2));
    if (found === 0) return false;
    const index = found - 1;
    if (load<u32>(hashes + (<usize>index << 2)) === hash) {
      if (isEntry(block, entries + <usize>index * STRING_ENTRY_BYTES, address, length)) return true;
    }
    place = (place + 1) & mask;
  }
}

// @ts-expect-error: decorator
@inline
function isEntry(block: usize, entry: usize, address: usize, length: u32): bool {
  return (
    load<u32>(entry, STRING_ENTRY_LENGTH) === length &&
    equalBytes(block + load<u32>(entry, STRING_ENTRY_OFFSET), address, length)
  );
}

export function matchesIn(block: usize, operand: usize, state: usize): bool {
  const type = load<u16>(state, SLOT_STATE_TYPE);
  if (type === VALUE_STRING) {
    const strings = load<u32>(operand, IN_STRINGS);
    return strings !== 0 && isInStringSet(block, block + strings, state);
  }
  if (type === VALUE_NUMBER) {
    return isInNumbers(
      block + load<u32>(operand, IN_NUMBERS),
      load<u32>(operand, IN_NUMBER_COUNT),
      load<f64>(state, SLOT_STATE_NUMBER),
    );
  }
  return type === VALUE_BOOLEAN && ((load<u32>(operand, IN_BOOLEANS) >> load<u32>(state, SLOT_STATE_LENGTH)) & 1) !== 0;
}

/** Ascending doubles; a NaN equals none. */
function isInNumbers(numbers: usize, count: u32, value: f64): bool {
  let low: u32 = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<f64>(numbers + (<usize>middle << 3)) < value) low = middle + 1;
    else high = middle;
  }
  return low < count && load<f64>(numbers + (<usize>low << 3)) === value;
}

/** startsWith, endsWith, contains and their IgnoreCase twins, whose operands were folded when compiled. */
export function matchesText(thread: usize, block: usize, op: u32, text: usize, count: u32, state: usize): bool {
  if (load<u16>(state, SLOT_STATE_TYPE) !== VALUE_STRING) return false;
  let address = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  let length = load<u32>(state, SLOT_STATE_LENGTH);
  if (op > OP_CONTAINS) {
    foldText(thread, address, length);
    address = <usize>load<u32>(thread, THREAD_FOLD_BUFFER);
    length = load<u32>(thread, THREAD_FOLD_BYTES);
    op -= <u32>(OP_CONTAINS_IGNORE_CASE - OP_CONTAINS);
  }
  for (; count > 0; --count) {
    const needle = block + load<u32>(text, TEXT_OFFSET);
    const needleBytes = load<u32>(text, TEXT_LENGTH);
    if (needleBytes <= length) {
      if (op === OP_STARTS_WITH) {
        if (equalBytes(address, needle, needleBytes)) return true;
      } else if (op === OP_ENDS_WITH) {
        if (equalBytes(address + (length - needleBytes), needle, needleBytes)) return true;
      } else {
        const failure = load<u32>(text, TEXT_FAILURE);
        const found =
          failure === 0
            ? containsShort(address, length, needle, needleBytes)
            : containsLong(address, length, needle, needleBytes, block + failure);
        if (found) return true;
      }
    }
    text += TEXT_BYTES;
  }
  return false;
}

/** Compares at every place: for needles so short that this is bounded. */
function containsShort(address: usize, length: u32, needle: usize, needleBytes: u32): bool {
  if (needleBytes === 0) return true;
  const first = load<u8>(needle);
  const last = address + (length - needleBytes);
  for (let at = address; at <= last; ++at) {
    if (load<u8>(at) === first && equalBytes(at, needle, needleBytes)) return true;
  }
  return false;
}

/** Knuth-Morris-Pratt: at most two steps per byte of input. */
function containsLong(address: usize, length: u32, needle: usize, needleBytes: u32, failure: usize): bool {
  let matched: u32 = 0;
  for (let index: u32 = 0; index < length; ++index) {
    const byte = load<u8>(address + index);
    while (matched > 0 && load<u8>(needle + matched) !== byte) matched = load<u32>(failure + (<usize>(matched - 1) << 2));
    if (load<u8>(needle + matched) === byte) ++matched;
    if (matched === needleBytes) return true;
  }
  return false;
}
