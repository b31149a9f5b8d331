import {
  ERROR_IS_FLAG_NOT_FOUND,
  ERROR_IS_GENERAL,
  ERROR_IS_INVALID_CONTEXT,
  ERROR_IS_PARSE_ERROR,
  ERROR_IS_TARGETING_KEY_MISSING,
  FLAG_NAME,
  IN_EXPERIMENT,
  REASON_IS_DEFAULT,
  REASON_IS_DISABLED,
  REASON_IS_SPLIT,
  REASON_IS_STATIC,
  REASON_IS_TARGETING_MATCH,
  RESULTS_NAME,
  REVISION_NAME,
} from "./answer-members";
import { hasRoom, resultStart, visiblePrerequisite, writeByte, writeFragment, writeMember } from "./answer-parts";
import { copyBytes } from "./bytes";
import { flagBlock } from "./flag";
import {
  ERROR_FLAG_NOT_FOUND,
  ERROR_GENERAL,
  ERROR_INVALID_CONTEXT,
  ERROR_PARSE_ERROR,
  FLAG_VARIATIONS,
  FRAGMENT_LENGTH,
  MEMBERS_BYTES,
  MEMO_EXPERIMENT,
  MEMO_REASON,
  MEMO_RULE,
  MEMO_VARIATION,
  REASON_DEFAULT,
  REASON_SPLIT,
  REASON_STATIC,
  REASON_TARGETING_MATCH,
  ROOT_REVISION,
  RULE_ID,
  THREAD_ANSWER,
  THREAD_CURSOR,
  THREAD_ROOT,
} from "./layout";

/** Answers in msgpack, in the canonical form of engine/compile/encode-msgpack.ts. */

/** Shortest form of an integer up to 2^53 - 1. */
// @ts-expect-error: decorator
@inline
function writeInteger(at: usize, value: u64): usize {
  if (value < 0x80) return writeByte(at, <u32>value);
  if (value <= 0xff) {
    store<u8>(at, 0xcc);
    store<u8>(at, value, 1);
    return at + 2;
  }
  if (value <= 0xffff) {
    store<u8>(at, 0xcd);
    store<u16>(at, bswap<u16>(<u16>value), 1);
    return at + 3;
  }
  if (value <= 0xffffffff) {
    store<u8>(at, 0xce);
    store<u32>(at, bswap<u32>(<u32>value), 1);
    return at + 5;
  }
  store<u8>(at, 0xcf);
  store<u64>(at, bswap<u64>(value), 1);
  return at + 9;
}

function writeArrayHeader(at: usize, count: u32): usize {
  if (count < 16) return writeByte(at, 0x90 | count);
  store<u8>(at, count <= 0xffff ? 0xdc : 0xdd);
  if (count <= 0xffff) {
    store<u16>(at, bswap<u16>(<u16>count), 1);
    return at + 3;
  }
  store<u32>(at, bswap<u32>(count), 1);
  return at + 5;
}

function writeText(at: usize, address: usize, byteCount: usize): usize {
  if (byteCount < 32) {
    at = writeByte(at, 0xa0 | <u32>byteCount);
  } else if (byteCount <= 0xff) {
    store<u8>(at, 0xd9);
    store<u8>(at, byteCount, 1);
    at += 2;
  } else if (byteCount <= 0xffff) {
    store<u8>(at, 0xda);
    store<u16>(at, bswap<u16>(<u16>byteCount), 1);
    at += 3;
  } else {
    store<u8>(at, 0xdb);
    store<u32>(at, bswap<u32>(<u32>byteCount), 1);
    at += 5;
  }
  copyBytes(at, address, byteCount);
  return at + byteCount;
}

// @ts-expect-error: decorator
@inline
function writeRevision(thread: usize, at: usize): usize {
  return writeInteger(writeMember(at, REVISION_NAME), load<u64>(<usize>load<u32>(thread, THREAD_ROOT), ROOT_REVISION));
}

/** `{revision, results: [` of `count` results. */
export function startMsgpackResults(thread: usize, count: u32): void {
  let at = writeByte(<usize>load<u32>(thread, THREAD_ANSWER), 0x82);
  at = writeMember(writeRevision(thread, at), RESULTS_NAME);
  store<u32>(thread, <u32>writeArrayHeader(at, count), THREAD_CURSOR);
}

export function writeMsgpackError(thread: usize, key: usize, keyBytes: usize, error: u32, isAlone: bool): bool {
  let at = resultStart(thread, isAlone);
  if (!hasRoom(thread, at, keyBytes)) return false;
  at = writeByte(at, 0x83 + <u32>isAlone);
  if (isAlone) at = writeRevision(thread, at);
  at = writeText(writeMember(at, FLAG_NAME), key, keyBytes);
  store<u32>(thread, <u32>writeMember(at, errorMember(error)), THREAD_CURSOR);
  return true;
}

function errorMember(error: u32): usize {
  if (error === <u32>ERROR_FLAG_NOT_FOUND) return ERROR_IS_FLAG_NOT_FOUND;
  if (error === <u32>ERROR_PARSE_ERROR) return ERROR_IS_PARSE_ERROR;
  if (error === <u32>ERROR_INVALID_CONTEXT) return ERROR_IS_INVALID_CONTEXT;
  return error === <u32>ERROR_GENERAL ? ERROR_IS_GENERAL : ERROR_IS_TARGETING_KEY_MISSING;
}

// @ts-expect-error: decorator
@inline
function reasonMember(reason: u32): usize {
  if (reason === REASON_SPLIT) return REASON_IS_SPLIT;
  if (reason === REASON_TARGETING_MATCH) return REASON_IS_TARGETING_MATCH;
  if (reason === REASON_STATIC) return REASON_IS_STATIC;
  return reason === REASON_DEFAULT ? REASON_IS_DEFAULT : REASON_IS_DISABLED;
}

/** The Result of a flag that served a variation. */
export function writeMsgpackServed(thread: usize, flag: u32, memo: usize, isAlone: bool): bool {
  const block = flagBlock(thread, flag);
  const variation = block + load<u32>(block, FLAG_VARIATIONS) + <usize>load<u8>(memo, MEMO_VARIATION) * MEMBERS_BYTES;
  let at = resultStart(thread, isAlone);
  if (!hasRoom(thread, at, load<u32>(variation, FRAGMENT_LENGTH))) return false;
  const rule = load<u32>(memo, MEMO_RULE);
  const prerequisite = visiblePrerequisite(thread, flag, block, memo);
  const isInExperiment = load<u8>(memo, MEMO_EXPERIMENT);
  const members: u32 = 4 + <u32>isAlone + <u32>(rule !== 0) + <u32>(prerequisite !== 0) + isInExperiment;
  at = writeByte(at, 0x80 | members);
  if (isAlone) at = writeRevision(thread, at);
  at = writeFragment(at, block, variation);
  at = writeMember(at, reasonMember(load<u8>(memo, MEMO_REASON)));
  if (rule !== 0) at = writeFragment(at, block, block + rule + RULE_ID);
  if (prerequisite !== 0) at = writeFragment(at, block, prerequisite);
  if (isInExperiment) at = writeMember(at, IN_EXPERIMENT);
  store<u32>(thread, <u32>at, THREAD_CURSOR);
  return true;
}
