import { indexContext, isMapAt, mapCount, mapHeaderBytes } from "./context-index";
import {
  CONTEXT_STATE_OVER_LIMIT,
  THREAD_BODY_CONTEXT,
  THREAD_BODY_CONTEXTS,
  THREAD_BODY_FLAG_KEY,
  THREAD_BODY_FLAGS,
  THREAD_BODY_MIN_REVISION,
  THREAD_BODY_REQUESTS,
  THREAD_BODY_TWICE,
  THREAD_BODY_UNKNOWN,
  THREAD_BODY_USER_ID,
  THREAD_CONTEXT_STATE,
  THREAD_KEY_STACK,
  THREAD_KEY_TOP,
} from "./layout";
import {
  enterMap,
  hasKey,
  leaveMap,
  malformed,
  readName,
  scanCommon,
  scanValue,
  textAddress,
  textBytes,
} from "./msgpack-scan";
import { isShortAscii, isUtf8 } from "./utf8";

// Names as little-endian words.
const FLAG_WORD: u32 = 0x67616c66; // "flag"
const FLAGS_END: u32 = 0x7367616c; // "lags"
const CONTEXT_WORDS: u64 = 0x00747865746e6f63; // "context"
const MIN_REVI: u64 = 0x697665526e696d; // "minRevi"
const FLAG_KEY_SNAKE: u64 = 0x79656b5f67616c66; // "flag_key"
const FLAG_KEY_CAMEL: u64 = 0x0079654b67616c66; // "flagKey"
const USER_ID_SNAKE: u64 = 0x0064695f72657375; // "user_id"
const REQUESTS: u64 = 0x7374736575716572; // "requests"
const CONTEXTS: u64 = 0x73747865746e6f63; // "contexts"
const FLAGS_HEAD: u64 = 0x7367616c66a5; // "flags" with its byte of header
const CONTEXT_HEAD: u64 = 0x747865746e6f63a7; // "context" with its
// @ts-expect-error: decorator
@inline
export const CONTEXT_HEAD_BYTES: usize = 8;
/** Less than any plain body or entry of one has, and enough for the words that are looked at first. */
// @ts-expect-error: decorator
@inline
export const PLAIN_BYTES_MIN: usize = 16;
const LOW_56: u64 = 0x00ffffffffffffff;
const LOW_48: u64 = 0x0000ffffffffffff;
const USER_ID_CAMEL: u64 = 0x0000644972657375; // "userId"

/** THREAD field of a member of an evaluate request, 0 = the protocol does not name it. */
// @ts-expect-error: decorator
@inline
function evaluateMember(at: usize, length: usize): usize {
  const word = load<u64>(at);
  if (length === 7) {
    const name = word & LOW_56;
    if (name === CONTEXT_WORDS) return THREAD_BODY_CONTEXT;
    if (name === FLAG_KEY_CAMEL) return THREAD_BODY_FLAG_KEY;
    return name === USER_ID_SNAKE ? THREAD_BODY_USER_ID : 0;
  }
  if (length === 5) return isFlags(at) ? THREAD_BODY_FLAGS : 0;
  if (length === 8) return word === FLAG_KEY_SNAKE ? THREAD_BODY_FLAG_KEY : 0;
  if (length === 6) return (word & LOW_48) === USER_ID_CAMEL ? THREAD_BODY_USER_ID : 0;
  return isMinRevision(at, length) ? THREAD_BODY_MIN_REVISION : 0;
}

/** The same of a batch request. */
// @ts-expect-error: decorator
@inline
function batchMember(at: usize, length: usize): usize {
  if (length === 8) {
    const word = load<u64>(at);
    if (word === REQUESTS) return THREAD_BODY_REQUESTS;
    return word === CONTEXTS ? THREAD_BODY_CONTEXTS : 0;
  }
  if (length === 5) return isFlags(at) ? THREAD_BODY_FLAGS : 0;
  return isMinRevision(at, length) ? THREAD_BODY_MIN_REVISION : 0;
}

// @ts-expect-error: decorator
@inline
function isFlags(at: usize): bool {
  return load<u32>(at) === FLAG_WORD && load<u32>(at, 1) === FLAGS_END;
}

// @ts-expect-error: decorator
@inline
function isMinRevision(at: usize, length: usize): bool {
  // "minRevi" and, from its eighth byte on, "sion".
  return length === 11 && (load<u64>(at) & LOW_56) === MIN_REVI && load<u32>(at, 7) === 0x6e6f6973;
}

/**
 * A short key at `at` and behind it the name "context", as plain bodies have them: the key's text, 0 when something else is there. The
 * context starts CONTEXT_HEAD_BYTES behind the key.
 */
// @ts-expect-error: decorator
@inline
export function readPlainKey(at: usize, end: usize): u64 {
  const length = <usize>load<u8>(at) - 0xa0;
  const key = at + 1;
  if (length >= 0x20 || length + CONTEXT_HEAD_BYTES >= end - key || !isShortAscii(key, length)) return 0;
  return load<u64>(key + length) === CONTEXT_HEAD ? (<u64>key << 32) | <u64>length : 0;
}

/**
 * The body that most services send: `{flags: "key", context: {…}}`, in this order, with a short key. Indexes the context and returns the
 * key's text; 0 when it is any other body, or something is wrong with it: then readBody() reads it from its start.
 */
// @ts-expect-error: decorator
@inline
export function readPlainBody(thread: usize, at: usize, end: usize): u64 {
  if (end - at < PLAIN_BYTES_MIN || load<u8>(at) !== 0x82 || (load<u64>(at, 1) & LOW_48) !== FLAGS_HEAD) return 0;
  const text = readPlainKey(at + 7, end);
  if (text === 0) return 0;
  const next = indexContext(thread, textAddress(text) + textBytes(text) + CONTEXT_HEAD_BYTES, end, 2);
  if (next === end && load<u32>(thread, THREAD_CONTEXT_STATE) !== CONTEXT_STATE_OVER_LIMIT) return text;
  forgetPlainBody(thread);
  return 0;
}

/** Where the reading of a plain body stopped it left its keys behind. */
export function forgetPlainBody(thread: usize): void {
  store<u32>(thread, load<u32>(thread, THREAD_KEY_STACK), THREAD_KEY_TOP);
}

/**
 * Reads the whole body once: all of it must be well-formed, whatever is in it. Puts the members' addresses into the thread block; a
 * single context is indexed on the way. False: malformed.
 */
// @ts-expect-error: decorator
@inline
export function readBody(thread: usize, at: usize, end: usize, isBatch: bool): bool {
  // All of THREAD_BODY_FLAGS … THREAD_BODY_TWICE.
  v128.store(thread, i64x2.splat(0), THREAD_BODY_FLAGS);
  v128.store(thread, i64x2.splat(0), THREAD_BODY_FLAGS + 16);
  store<u32>(thread, 0, THREAD_BODY_TWICE);
  if (!isMapAt(at, end)) {
    const next = scanValue(thread, at, end, 1);
    if (next === 0) return false;
    store<u32>(thread, <u32>at, THREAD_BODY_UNKNOWN);
    return next === end || malformed(thread, next) !== 0;
  }
  const first = <u32>load<u8>(at);
  if (end - at < mapHeaderBytes(first)) return malformed(thread, at) !== 0;
  const count = mapCount(at, first);
  at += mapHeaderBytes(first);
  if (!enterMap(thread, at, end, count, 1)) return malformed(thread, at) !== 0;
  const next = readMembers(thread, at, end, count, isBatch);
  if (next === 0) return false;
  return next === end || malformed(thread, next) !== 0;
}

/** The names of the protocol are known by their fields; what it does not name is compared with the keys that were there before. */
// @ts-expect-error: decorator
@inline
function readMembers(thread: usize, at: usize, end: usize, count: usize, isBatch: bool): usize {
  const keysBase = <usize>load<u32>(thread, THREAD_KEY_TOP);
  let keysTop = keysBase;
  for (; count > 0; --count) {
    const text = readName(at, end);
    if (text === 0) return malformed(thread, at);
    const address = textAddress(text);
    const length = textBytes(text);
    const valueAt = address + length;
    const member = isBatch ? batchMember(address, length) : evaluateMember(address, length);
    if (member === 0) {
      if (!isUtf8(address, length) || hasKey(keysBase, keysTop, address, length)) return malformed(thread, at);
      if (load<u32>(thread, THREAD_BODY_UNKNOWN) === 0) store<u32>(thread, <u32>at, THREAD_BODY_UNKNOWN);
    } else {
      if (load<u32>(thread + member) !== 0) {
        // The same name, or the other spelling of it.
        if (hasKey(keysBase, keysTop, address, length)) return malformed(thread, at);
        store<u32>(thread, <u32>member, THREAD_BODY_TWICE);
      }
      store<u32>(thread + member, <u32>valueAt);
    }
    store<u64>(keysTop, text);
    keysTop += 8;
    store<u32>(thread, <u32>keysTop, THREAD_KEY_TOP);
    if (member === THREAD_BODY_CONTEXT) {
      at = indexContext(thread, valueAt, end, 2);
    } else {
      const next = scanCommon(valueAt, end);
      at = next !== 0 ? next : scanValue(thread, valueAt, end, 2);
    }
    if (at === 0) return 0;
  }
  return leaveMap(thread, keysBase) ? at : malformed(thread, at);
}
