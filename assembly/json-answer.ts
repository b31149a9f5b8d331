import { hasRoom, resultStart, visiblePrerequisite, writeByte, writeFragment, writeMember } from "./answer-parts";
import { copyBytes } from "./bytes";
import { flagBlock } from "./flag";
import {
  JSON_ERROR_IS_FLAG_NOT_FOUND,
  JSON_ERROR_IS_GENERAL,
  JSON_ERROR_IS_INVALID_CONTEXT,
  JSON_ERROR_IS_PARSE_ERROR,
  JSON_ERROR_IS_TARGETING_KEY_MISSING,
  JSON_FLAG,
  JSON_IN_EXPERIMENT,
  JSON_REASON_IS_DEFAULT,
  JSON_REASON_IS_DISABLED,
  JSON_REASON_IS_SPLIT,
  JSON_REASON_IS_STATIC,
  JSON_REASON_IS_TARGETING_MATCH,
  JSON_RESULTS,
  JSON_REVISION,
} from "./json-members";
import {
  ERROR_FLAG_NOT_FOUND,
  ERROR_GENERAL,
  ERROR_INVALID_CONTEXT,
  ERROR_PARSE_ERROR,
  FLAG_VARIATIONS,
  FRAGMENT_LENGTH,
  MEMBERS_BYTES,
  MEMBERS_JSON,
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

/**
 * Answers in JSON, byte for byte what JSON.stringify makes of the same members in the same order. Every member and every result has a
 * comma behind it; what closes them takes the place of the last one.
 */
const QUOTE: u32 = 0x22;
const COMMA: u32 = 0x2c;
const BACKSLASH: u32 = 0x5c;
const CLOSE_BRACKET: u32 = 0x5d;
const OPEN_BRACE: u32 = 0x7b;
const CLOSE_BRACE: u32 = 0x7d;
const SPACE: u32 = 0x20;
const SMALL_U: u32 = 0x75;

/** What follows the backslash of a control character with a short escape, for 0x08 to 0x0d; 0 = it has none. */
const SHORT_ESCAPES: usize = memory.data<u8>([0x62, 0x74, 0x6e, 0x00, 0x66, 0x72]);

// @ts-expect-error: decorator
@inline
function writeRevision(thread: usize, at: usize): usize {
  const revision = load<u64>(<usize>load<u32>(thread, THREAD_ROOT), ROOT_REVISION);
  return writeByte(writeDecimals(writeMember(at, JSON_REVISION), revision), COMMA);
}

function writeDecimals(at: usize, value: u64): usize {
  let end = at + 1;
  for (let rest = value / 10; rest !== 0; rest /= 10) ++end;
  let digitAt = end;
  do {
    store<u8>(--digitAt, 0x30 + <u32>(value % 10));
    value /= 10;
  } while (value !== 0);
  return end;
}

/** `{"revision":…,"results":[` */
export function startJsonResults(thread: usize): void {
  const at = writeByte(<usize>load<u32>(thread, THREAD_ANSWER), OPEN_BRACE);
  store<u32>(thread, <u32>writeMember(writeRevision(thread, at), JSON_RESULTS), THREAD_CURSOR);
}

export function finishJsonResults(thread: usize): void {
  let at = <usize>load<u32>(thread, THREAD_CURSOR);
  if (<u32>load<u8>(at - 1) === COMMA) --at;
  store<u32>(thread, <u32>writeByte(writeByte(at, CLOSE_BRACKET), CLOSE_BRACE), THREAD_CURSOR);
}

// @ts-expect-error: decorator
@inline
function startResult(thread: usize, at: usize, isAlone: bool): usize {
  at = writeByte(at, OPEN_BRACE);
  return isAlone ? writeRevision(thread, at) : at;
}

/** `at` is behind the comma of its last member. */
// @ts-expect-error: decorator
@inline
function finishResult(thread: usize, at: usize, isAlone: bool): void {
  store<u8>(at - 1, CLOSE_BRACE);
  store<u32>(thread, <u32>(isAlone ? at : writeByte(at, COMMA)), THREAD_CURSOR);
}

/** Bytes that a character of a string takes: 1, 2 with a short escape, 6 as \u00xx. */
// @ts-expect-error: decorator
@inline
function escapedBytes(byte: u32): usize {
  if (byte >= SPACE) return byte === QUOTE || byte === BACKSLASH ? 2 : 1;
  return shortEscape(byte) !== 0 ? 2 : 6;
}

// @ts-expect-error: decorator
@inline
function shortEscape(byte: u32): u32 {
  const index = byte - 0x08;
  return index < 6 ? <u32>load<u8>(SHORT_ESCAPES + <usize>index) : 0;
}

/** Length of a key between its quotes. */
function escapedLength(at: usize, byteCount: usize): usize {
  let length: usize = 0;
  for (const end = at + byteCount; at < end; ++at) length += escapedBytes(load<u8>(at));
  return length;
}

function writeEscaped(to: usize, at: usize, byteCount: usize): usize {
  for (const end = at + byteCount; at < end; ++at) {
    const byte = <u32>load<u8>(at);
    const length = escapedBytes(byte);
    if (length === 1) {
      store<u8>(to, byte);
    } else {
      store<u8>(to, BACKSLASH);
      if (length === 2) {
        store<u8>(to, byte < SPACE ? shortEscape(byte) : byte, 1);
      } else {
        // "u00" behind the backslash, then two hex digits in lower case.
        store<u8>(to, SMALL_U, 1);
        store<u16>(to, 0x3030, 2);
        store<u8>(to, 0x30 + (byte >> 4), 4);
        store<u8>(to, hexDigit(byte & 0x0f), 5);
      }
    }
    to += length;
  }
  return to;
}

// @ts-expect-error: decorator
@inline
function hexDigit(value: u32): u32 {
  return value < 10 ? 0x30 + value : 0x57 + value;
}

export function writeJsonError(thread: usize, key: usize, keyBytes: usize, error: u32, isAlone: bool): bool {
  let at = resultStart(thread, isAlone);
  const length = escapedLength(key, keyBytes);
  if (!hasRoom(thread, at, length)) return false;
  at = writeMember(startResult(thread, at, isAlone), JSON_FLAG);
  if (length === keyBytes) {
    copyBytes(at, key, keyBytes);
    at += keyBytes;
  } else {
    at = writeEscaped(at, key, keyBytes);
  }
  store<u8>(at, QUOTE);
  store<u8>(at, COMMA, 1);
  finishResult(thread, writeMember(at + 2, errorMember(error)), isAlone);
  return true;
}

function errorMember(error: u32): usize {
  if (error === <u32>ERROR_FLAG_NOT_FOUND) return JSON_ERROR_IS_FLAG_NOT_FOUND;
  if (error === <u32>ERROR_PARSE_ERROR) return JSON_ERROR_IS_PARSE_ERROR;
  if (error === <u32>ERROR_INVALID_CONTEXT) return JSON_ERROR_IS_INVALID_CONTEXT;
  return error === <u32>ERROR_GENERAL ? JSON_ERROR_IS_GENERAL : JSON_ERROR_IS_TARGETING_KEY_MISSING;
}

// @ts-expect-error: decorator
@inline
function reasonMember(reason: u32): usize {
  if (reason === REASON_SPLIT) return JSON_REASON_IS_SPLIT;
  if (reason === REASON_TARGETING_MATCH) return JSON_REASON_IS_TARGETING_MATCH;
  if (reason === REASON_STATIC) return JSON_REASON_IS_STATIC;
  return reason === REASON_DEFAULT ? JSON_REASON_IS_DEFAULT : JSON_REASON_IS_DISABLED;
}

/** The Result of a flag that served a variation. */
export function writeJsonServed(thread: usize, flag: u32, memo: usize, isAlone: bool): bool {
  const block = flagBlock(thread, flag);
  const variations = block + load<u32>(block, FLAG_VARIATIONS);
  const variation = variations + <usize>load<u8>(memo, MEMO_VARIATION) * MEMBERS_BYTES + MEMBERS_JSON;
  let at = resultStart(thread, isAlone);
  if (!hasRoom(thread, at, load<u32>(variation, FRAGMENT_LENGTH))) return false;
  const rule = load<u32>(memo, MEMO_RULE);
  const prerequisite = visiblePrerequisite(thread, flag, block, memo);
  at = writeFragment(startResult(thread, at, isAlone), block, variation);
  at = writeMember(at, reasonMember(load<u8>(memo, MEMO_REASON)));
  if (rule !== 0) at = writeFragment(at, block, block + rule + RULE_ID + MEMBERS_JSON);
  if (prerequisite !== 0) at = writeFragment(at, block, prerequisite + MEMBERS_JSON);
  if (load<u8>(memo, MEMO_EXPERIMENT)) at = writeMember(at, JSON_IN_EXPERIMENT);
  finishResult(thread, at, isAlone);
  return true;
}
