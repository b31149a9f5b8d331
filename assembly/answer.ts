import { finishJsonResults, startJsonResults, writeJsonError, writeJsonServed } from "./json-answer";
import { CALL_OPTION_JSON_ANSWER, ERROR_NONE, MEMO_ERROR, STATUS_OK, THREAD_OPTIONS } from "./layout";
import { startMsgpackResults, writeMsgpackError, writeMsgpackServed } from "./msgpack-answer";

/**
 * Writes the answer at THREAD_CURSOR, in the format that the call asks for. Functions that write a result return false when it does
 * not fit: the host enlarges the region and asks again, so nothing is ever cut.
 */

// @ts-expect-error: decorator
@inline
function isJsonAnswer(thread: usize): bool {
  return (load<u32>(thread, THREAD_OPTIONS) & <u32>CALL_OPTION_JSON_ANSWER) !== 0;
}

/** An answer of `count` results begins. */
export function startResults(thread: usize, count: u32): void {
  if (isJsonAnswer(thread)) startJsonResults(thread);
  else startMsgpackResults(thread, count);
}

/** All results of startResults are written. */
export function finishResults(thread: usize): usize {
  if (isJsonAnswer(thread)) finishJsonResults(thread);
  return STATUS_OK;
}

/** `isAlone`: the answer is this result, with `revision` in front of its members. */
export function writeError(thread: usize, key: usize, keyBytes: usize, error: u32, isAlone: bool): bool {
  return isJsonAnswer(thread)
    ? writeJsonError(thread, key, keyBytes, error, isAlone)
    : writeMsgpackError(thread, key, keyBytes, error, isAlone);
}

/** The Result of an evaluated flag, asked for as `key`. */
export function writeResult(thread: usize, flag: u32, memo: usize, key: usize, keyBytes: usize, isAlone: bool): bool {
  const error = <u32>load<u8>(memo, MEMO_ERROR);
  if (error !== <u32>ERROR_NONE) return writeError(thread, key, keyBytes, error, isAlone);
  return isJsonAnswer(thread) ? writeJsonServed(thread, flag, memo, isAlone) : writeMsgpackServed(thread, flag, memo, isAlone);
}
