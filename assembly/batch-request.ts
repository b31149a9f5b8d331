import { admit } from "./admission";
import { finishResults, startResults } from "./answer";
import { answerFlag, hasFuel, refuse } from "./ask";
import { CONTEXT_HEAD_BYTES, forgetPlainBody, PLAIN_BYTES_MIN, readBody, readPlainKey } from "./body";
import { indexContext, isMapAt, mapStart, startContext } from "./context-index";
import {
  CONTEXT_STATE_INVALID,
  ERROR_PARSE_ERROR,
  EVALUATIONS_MAX,
  NONE,
  PLACE_BODY,
  PLACE_CONTEXTS,
  PLACE_FLAGS,
  PLACE_REQUESTS,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_TYPE,
  STATUS_ANSWER_FULL,
  STATUS_COSTLY,
  STATUS_LIMIT,
  STATUS_MALFORMED,
  STATUS_OK,
  THREAD_BODY_CONTEXTS,
  THREAD_BODY_FLAGS,
  THREAD_BODY_REQUESTS,
  THREAD_CONTEXT_STATE,
  THREAD_COST_MAX,
  THREAD_ELEMENT,
  THREAD_ERROR_PLACE,
  THREAD_EVALUATIONS,
  THREAD_REQUEST_FUEL,
  VALUE_ARRAY,
} from "./layout";
import { readText, textAddress, textBytes } from "./msgpack-scan";
import { answerFlagKeys, checkFlagKeys, checkMembers, checkMinRevision, costOfFlagKeys, invalid } from "./request-parts";
import { startUsage } from "./usage";
import { decodeValue, skipValue } from "./value";

/** "flag" as a little-endian word, "context" as the low 7 bytes of one. */
const FLAG_WORD: u32 = 0x67616c66;
const CONTEXT_WORDS: u64 = 0x00747865746e6f63;
const REQUESTS: u64 = 0x7374736575716572; // "requests"
const FLAG_HEAD: u64 = 0x67616c66a4; // "flag" with its byte of header
const LOW_40: u64 = 0x000000ffffffffff;
const LOW_56: u64 = 0x00ffffffffffffff;

/**
 * `{requests: [{flag: "key", context: {…}}…]}`, in this order, with short keys, is answered while it is read. STATUS_MALFORMED: it is any other
 * body, or something is wrong with it, and what was written is of no use.
 */
function answerPlain(thread: usize, at: usize, end: usize): usize {
  if (end - at < PLAIN_BYTES_MIN || load<u16>(at) !== 0xa881 || load<u64>(at, 2) !== REQUESTS) return STATUS_MALFORMED;
  const first = <u32>load<u8>(at, 10);
  const isShort = (first & 0xf0) === 0x90;
  if (!isShort && first !== 0xdc) return STATUS_MALFORMED;
  const count = isShort ? first & 0x0f : <u32>bswap<u16>(load<u16>(at, 11));
  if (count > EVALUATIONS_MAX) return STATUS_MALFORMED;
  store<u32>(thread, count, THREAD_EVALUATIONS);
  startResults(thread, count);
  at += isShort ? 11 : 13;
  for (let left = count; left > 0; --left) {
    if (at + PLAIN_BYTES_MIN > end || load<u8>(at) !== 0x82 || (load<u64>(at, 1) & LOW_40) !== FLAG_HEAD) return STATUS_MALFORMED;
    const text = readPlainKey(at + 6, end);
    if (text === 0) return STATUS_MALFORMED;
    at = indexContext(thread, textAddress(text) + textBytes(text) + CONTEXT_HEAD_BYTES, end, 4);
    if (at === 0) return STATUS_MALFORMED;
    // Without fuel the body is read to its end before that is said: it may be malformed.
    if (!answerFlag(thread, text, false, false)) return hasFuel(thread) ? STATUS_ANSWER_FULL : STATUS_MALFORMED;
  }
  return at === end ? finishResults(thread) : STATUS_MALFORMED;
}

/** As if nothing had been answered; but what that has cost stays in the sum, so that no body is worth twice what is admitted. */
function forgetPlain(thread: usize): void {
  forgetPlainBody(thread);
  startUsage(thread);
  store<u64>(thread, 0, THREAD_REQUEST_FUEL);
}

/** `{requests: [{flag, context}…]}` or `{contexts, flags}`; one bad entry never fails the others. */
export function answerBatch(thread: usize, body: usize, end: usize): usize {
  const plain = answerPlain(thread, body, end);
  if (plain !== STATUS_MALFORMED) return plain;
  forgetPlain(thread);
  if (!readBody(thread, body, end, true)) return STATUS_MALFORMED;
  if (!isMapAt(body, end)) return invalid(thread, PLACE_BODY);
  const unknown = checkMembers(thread);
  if (unknown !== STATUS_OK) return unknown;
  const requests = <usize>load<u32>(thread, THREAD_BODY_REQUESTS);
  const contexts = <usize>load<u32>(thread, THREAD_BODY_CONTEXTS);
  const flags = <usize>load<u32>(thread, THREAD_BODY_FLAGS);
  if (contexts !== 0) return requests !== 0 ? invalid(thread, PLACE_REQUESTS) : answerProduct(thread, contexts, flags, end);
  if (requests === 0) return invalid(thread, PLACE_REQUESTS);
  if (flags !== 0) return invalid(thread, PLACE_FLAGS);
  return answerRequests(thread, requests, end);
}

/** Reads an array into THREAD_ELEMENT. */
function isArray(thread: usize, at: usize): bool {
  const element = thread + THREAD_ELEMENT;
  decodeValue(element, at);
  return load<u16>(element, SLOT_STATE_TYPE) === VALUE_ARRAY;
}

// @ts-expect-error: decorator
@inline
function elementCount(thread: usize): u32 {
  return load<u32>(thread + THREAD_ELEMENT, SLOT_STATE_LENGTH);
}

// @ts-expect-error: decorator
@inline
function firstElement(thread: usize): usize {
  return <usize>load<u32>(thread + THREAD_ELEMENT, SLOT_STATE_ADDRESS);
}

function tooMany(thread: usize, place: usize): usize {
  store<u32>(thread, <u32>place, THREAD_ERROR_PLACE);
  return STATUS_LIMIT;
}

/** Context-major: all flags of the first context come first. */
function answerProduct(thread: usize, contexts: usize, flags: usize, end: usize): usize {
  if (flags === 0) return invalid(thread, PLACE_FLAGS);
  decodeValue(thread + THREAD_ELEMENT, flags);
  const keys = checkFlagKeys(thread, end);
  if (keys !== STATUS_OK) return keys;
  const flagCount = elementCount(thread);
  const firstFlag = firstElement(thread);
  if (!isArray(thread, contexts)) return invalid(thread, PLACE_CONTEXTS);
  const contextCount = elementCount(thread);
  let at = firstElement(thread);
  const count = <u64>flagCount * <u64>contextCount;
  if (count > <u64>EVALUATIONS_MAX) return tooMany(thread, PLACE_CONTEXTS);
  const revision = checkMinRevision(thread);
  if (revision !== STATUS_OK) return revision;
  store<u32>(thread, <u32>count, THREAD_EVALUATIONS);
  startResults(thread, <u32>count);
  // Without flags there is nothing to say about any context, however many there are.
  if (flagCount === 0) return finishResults(thread);
  const each = costOfFlagKeys(thread, firstFlag, flagCount, end);
  if (each * <u64>contextCount > load<u64>(thread, THREAD_COST_MAX)) return STATUS_COSTLY;
  for (let index: u32 = 0; index < contextCount; ++index) {
    at = indexContext(thread, at, end, 3);
    if (!admit(thread, each)) return STATUS_COSTLY;
    if (!answerFlagKeys(thread, firstFlag, flagCount, end)) return STATUS_ANSWER_FULL;
  }
  return finishResults(thread);
}

function answerRequests(thread: usize, requests: usize, end: usize): usize {
  if (!isArray(thread, requests)) return invalid(thread, PLACE_REQUESTS);
  const count = elementCount(thread);
  let at = firstElement(thread);
  if (count > EVALUATIONS_MAX) return tooMany(thread, PLACE_REQUESTS);
  const revision = checkMinRevision(thread);
  if (revision !== STATUS_OK) return revision;
  store<u32>(thread, count, THREAD_EVALUATIONS);
  startResults(thread, count);
  for (let index: u32 = 0; index < count; ++index) {
    if (!answerEntry(thread, at, end)) return STATUS_ANSWER_FULL;
    at = skipValue(at);
  }
  return finishResults(thread);
}

/** An entry without a string `flag` cannot be named in its answer; one without a context has an invalid one. */
function answerEntry(thread: usize, at: usize, end: usize): bool {
  let flag: u64 = 0;
  let context: usize = 0;
  if (isMapAt(at, end)) {
    decodeValue(thread + THREAD_ELEMENT, at);
    at = mapStart(at);
    for (let left = elementCount(thread); left > 0; --left) {
      const name = readText(at, end);
      const address = textAddress(name);
      const valueAt = address + textBytes(name);
      if (textBytes(name) === 4 && load<u32>(address) === FLAG_WORD) flag = readText(valueAt, end);
      else if (textBytes(name) === 7 && (load<u64>(address) & LOW_56) === CONTEXT_WORDS) context = valueAt;
      at = skipValue(valueAt);
    }
  }
  if (flag === 0) return refuse(thread, NONE, thread, 0, <u32>ERROR_PARSE_ERROR, false);
  if (context === 0) {
    startContext(thread);
    store<u32>(thread, <u32>CONTEXT_STATE_INVALID, THREAD_CONTEXT_STATE);
  } else {
    indexContext(thread, context, end, 4);
  }
  return answerFlag(thread, flag, false, false);
}
