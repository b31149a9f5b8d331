import { admit, costOfEntry } from "./admission";
import { writeError, writeResult } from "./answer";
import { equalBytes, nameHash } from "./bytes";
import { evaluateFlag, flagBlock, flagEntry } from "./flag";
import {
  CALL_OPTION_CLIENT_SIDE_ONLY,
  CALL_OPTION_GIVEN_UP,
  CONTEXT_STATE_VALID,
  ERROR_FLAG_NOT_FOUND,
  ERROR_GENERAL,
  ERROR_INVALID_CONTEXT,
  FLAG_BIT_CLIENT_SIDE,
  FLAG_BITS,
  FLAG_ENTRY_KEY_HASH,
  FLAG_KEY_BYTES,
  FLAG_KEY_OFFSET,
  NONE,
  REQUEST_FUEL,
  ROOT_FLAG_COUNT,
  ROOT_FLAG_HASH,
  ROOT_FLAG_HASH_COUNT,
  THREAD_CONTEXT_STATE,
  THREAD_OPTIONS,
  THREAD_REQUEST_FUEL,
  THREAD_ROOT,
} from "./layout";
import { textAddress, textBytes } from "./msgpack-scan";
import { logError, logResult } from "./usage";

/** Index of a flag that the asker may see, or NONE. */
// @ts-expect-error: decorator
@inline
function findFlag(thread: usize, key: usize, keyBytes: usize): u32 {
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const hash = nameHash(key, keyBytes);
  const mask = load<u32>(root, ROOT_FLAG_HASH_COUNT) - 1;
  const table = root + load<u32>(root, ROOT_FLAG_HASH);
  // The verifier saw an empty place, so the walk ends.
  let place = hash & mask;
  while (true) {
    const found = load<u32>(table + (<usize>place << 2));
    if (found === 0) return NONE;
    const flag = found - 1;
    if (load<u32>(flagEntry(root, flag), FLAG_ENTRY_KEY_HASH) === hash) {
      const block = flagBlock(thread, flag);
      if (load<u32>(block, FLAG_KEY_BYTES) === <u32>keyBytes && equalBytes(block + load<u32>(block, FLAG_KEY_OFFSET), key, keyBytes)) {
        return isVisible(thread, block) ? flag : NONE;
      }
    }
    place = (place + 1) & mask;
  }
}

// @ts-expect-error: decorator
@inline
function isVisible(thread: usize, block: usize): bool {
  if (!(load<u32>(thread, THREAD_OPTIONS) & <u32>CALL_OPTION_CLIENT_SIDE_ONLY)) return true;
  return (load<u8>(block, FLAG_BITS) & <u32>FLAG_BIT_CLIENT_SIDE) !== 0;
}

/** False: the request costs too much, so it is refused as a whole and what is written is of no use. */
// @ts-expect-error: decorator
@inline
export function hasFuel(thread: usize): bool {
  return load<u64>(thread, THREAD_REQUEST_FUEL) <= <u64>REQUEST_FUEL;
}

// @ts-expect-error: decorator
@inline
function isGivenUp(thread: usize): bool {
  return (load<u32>(thread, THREAD_OPTIONS) & <u32>CALL_OPTION_GIVEN_UP) !== 0;
}

/** Writes the result that `flag` (NONE: unknown, or not looked up) has as `error`, and logs it. */
export function refuse(thread: usize, flag: u32, key: usize, keyBytes: usize, error: u32, isAlone: bool): bool {
  logError(thread, flag, error);
  return writeError(thread, key, keyBytes, error, isAlone);
}

// @ts-expect-error: decorator
@inline
function serve(thread: usize, flag: u32, memo: usize, key: usize, keyBytes: usize, isAlone: bool): bool {
  logResult(thread, flag, memo);
  return writeResult(thread, flag, memo, key, keyBytes, isAlone);
}

/**
 * What asking for a flag by this key may cost. A key that no flag has may be as long as the body, and a batch hashes, escapes and answers
 * it once for each of its contexts: escaping takes one unit for four bytes.
 */
export function costOfKey(thread: usize, key: usize, keyBytes: usize): u64 {
  const flag = findFlag(thread, key, keyBytes);
  return flag === NONE ? 1 + <u64>(keyBytes >> 2) : costOfEntry(flagEntry(<usize>load<u32>(thread, THREAD_ROOT), flag));
}

/**
 * Evaluates one flag for the context at hand and writes its result; false when the answer region is full, the fuel used up or the cost
 * not admitted. `isSummed`: what it may cost is in the sum already.
 */
export function answerFlag(thread: usize, text: u64, isAlone: bool, isSummed: bool): bool {
  const key = textAddress(text);
  const keyBytes = textBytes(text);
  if (load<u32>(thread, THREAD_CONTEXT_STATE) !== CONTEXT_STATE_VALID) {
    return refuse(thread, NONE, key, keyBytes, <u32>ERROR_INVALID_CONTEXT, isAlone);
  }
  const flag = findFlag(thread, key, keyBytes);
  if (flag === NONE) return refuse(thread, NONE, key, keyBytes, <u32>ERROR_FLAG_NOT_FOUND, isAlone);
  if (isGivenUp(thread)) return refuse(thread, flag, key, keyBytes, <u32>ERROR_GENERAL, isAlone);
  if (!isSummed && !admit(thread, costOfEntry(flagEntry(<usize>load<u32>(thread, THREAD_ROOT), flag)))) return false;
  const memo = evaluateFlag(thread, flag, 0);
  return hasFuel(thread) && serve(thread, flag, memo, key, keyBytes, isAlone);
}

/** What asking for all visible flags may cost. */
export function costOfVisible(thread: usize): u64 {
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const flagCount = load<u32>(root, ROOT_FLAG_COUNT);
  let cost: u64 = 0;
  for (let flag: u32 = 0; flag < flagCount; ++flag) {
    if (isVisible(thread, flagBlock(thread, flag))) cost += costOfEntry(flagEntry(root, flag));
  }
  return cost;
}

/** How many flags the asker may see. */
export function countVisible(thread: usize): u32 {
  const flagCount = load<u32>(<usize>load<u32>(thread, THREAD_ROOT), ROOT_FLAG_COUNT);
  let count: u32 = 0;
  for (let flag: u32 = 0; flag < flagCount; ++flag) count += <u32>isVisible(thread, flagBlock(thread, flag));
  return count;
}

/** Every flag that the asker may see, sorted by key bytes as the flag table is; false like answerFlag. */
export function answerAllVisible(thread: usize): bool {
  const flagCount = load<u32>(<usize>load<u32>(thread, THREAD_ROOT), ROOT_FLAG_COUNT);
  const isValid = load<u32>(thread, THREAD_CONTEXT_STATE) === CONTEXT_STATE_VALID;
  for (let flag: u32 = 0; flag < flagCount; ++flag) {
    const block = flagBlock(thread, flag);
    if (!isVisible(thread, block)) continue;
    const key = block + load<u32>(block, FLAG_KEY_OFFSET);
    const keyBytes = <usize>load<u32>(block, FLAG_KEY_BYTES);
    if (isValid && isGivenUp(thread)) {
      if (!refuse(thread, flag, key, keyBytes, <u32>ERROR_GENERAL, false)) return false;
      continue;
    }
    const memo: usize = isValid ? evaluateFlag(thread, flag, 0) : 0;
    if (!hasFuel(thread)) return false;
    const isWritten = isValid
      ? serve(thread, flag, memo, key, keyBytes, false)
      : refuse(thread, flag, key, keyBytes, <u32>ERROR_INVALID_CONTEXT, false);
    if (!isWritten) return false;
  }
  return true;
}
