import { admit, isCheap } from './admission';
import { finishResults, startResults } from './answer';
import { answerAllVisible, answerFlag, costOfVisible, countVisible } from './ask';
import { readBody, readPlainBody } from './body';
import { isMapAt, setTargetingKey, startEmptyContext } from './context-index';
import {
  CONTEXT_STATE_OVER_LIMIT,
  CONTEXT_STATE_VALID,
  EVALUATIONS_MAX,
  PLACE_BODY,
  PLACE_CONTEXT,
  PLACE_FLAG_KEY,
  PLACE_FLAGS,
  PLACE_USER_ID,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_TYPE,
  STATUS_ANSWER_FULL,
  STATUS_COSTLY,
  STATUS_LIMIT,
  STATUS_MALFORMED,
  STATUS_OK,
  THREAD_BODY_CONTEXT,
  THREAD_BODY_FLAG_KEY,
  THREAD_BODY_FLAGS,
  THREAD_BODY_TWICE,
  THREAD_BODY_USER_ID,
  THREAD_CONTEXT_STATE,
  THREAD_ELEMENT,
  THREAD_ERROR_PLACE,
  THREAD_EVALUATIONS,
  VALUE_NUMBER,
  VALUE_STRING,
} from './layout';
import { readText } from './msgpack-scan';
import { answerFlagKeys, checkFlagKeys, checkMembers, checkMinRevision, costOfFlagKeys, invalid } from './request-parts';
import { decodeValue } from './value';

/** `{flags?, context, minRevision?}` and the short forms: one context, one flag, many or all visible ones. */
export function answerEvaluate(thread: usize, body: usize, end: usize): usize {
  const plain = readPlainBody(thread, body, end);
  if (plain !== 0) return answerAlone(thread, plain);
  if (!readBody(thread, body, end, false)) return STATUS_MALFORMED;
  if (!isMapAt(body, end)) return invalid(thread, PLACE_BODY);
  const unknown = checkMembers(thread);
  if (unknown !== STATUS_OK) return unknown;
  const context = checkContext(thread);
  if (context !== STATUS_OK) return context;
  const flagKey = <usize>load<u32>(thread, THREAD_BODY_FLAG_KEY);
  let flags = <usize>load<u32>(thread, THREAD_BODY_FLAGS);
  if (flagKey !== 0) {
    if (flags !== 0 || load<u32>(thread, THREAD_BODY_TWICE) === <u32>THREAD_BODY_FLAG_KEY) return invalid(thread, PLACE_FLAG_KEY);
    flags = flagKey;
  }
  const text = flags === 0 ? 0 : readText(flags, end);
  if (flagKey !== 0 && text === 0) return invalid(thread, PLACE_FLAG_KEY);
  if (flags !== 0 && text === 0) {
    decodeValue(thread + THREAD_ELEMENT, flags);
    const keys = checkFlagKeys(thread, end);
    if (keys !== STATUS_OK) return keys;
  }
  const revision = checkMinRevision(thread);
  if (revision !== STATUS_OK) return revision;
  if (text !== 0) return answerAlone(thread, text);
  return flags === 0 ? answerVisible(thread) : answerKeys(thread, flags, end);
}

/** The answer is the result of one flag. */
function answerAlone(thread: usize, text: u64): usize {
  store<u32>(thread, 1, THREAD_EVALUATIONS);
  return answerFlag(thread, text, true, false) ? STATUS_OK : STATUS_ANSWER_FULL;
}

/** There is one, or a user id to make one of; it is within its limits. */
// @ts-expect-error: decorator
@inline
function checkContext(thread: usize): usize {
  const userId = <usize>load<u32>(thread, THREAD_BODY_USER_ID);
  const hasContext = load<u32>(thread, THREAD_BODY_CONTEXT) !== 0;
  if (!hasContext) {
    if (userId === 0) return invalid(thread, PLACE_CONTEXT);
    startEmptyContext(thread);
  } else if (load<u32>(thread, THREAD_CONTEXT_STATE) === CONTEXT_STATE_OVER_LIMIT) {
    store<u32>(thread, <u32>PLACE_CONTEXT, THREAD_ERROR_PLACE);
    return STATUS_LIMIT;
  }
  if (userId === 0) return STATUS_OK;
  const element = thread + THREAD_ELEMENT;
  decodeValue(element, userId);
  const type = load<u16>(element, SLOT_STATE_TYPE);
  const isUserId = type === VALUE_STRING || type === VALUE_NUMBER;
  if (!isUserId || load<u32>(thread, THREAD_BODY_TWICE) === <u32>THREAD_BODY_USER_ID) return invalid(thread, PLACE_USER_ID);
  if (load<u32>(thread, THREAD_CONTEXT_STATE) === CONTEXT_STATE_VALID) setTargetingKey(thread, userId);
  return STATUS_OK;
}

function answerVisible(thread: usize): usize {
  const count = countVisible(thread);
  if (count > EVALUATIONS_MAX) return tooMany(thread);
  if (!isCheap(thread, count) && !admit(thread, costOfVisible(thread))) return STATUS_COSTLY;
  store<u32>(thread, count, THREAD_EVALUATIONS);
  startResults(thread, count);
  return answerAllVisible(thread) ? finishResults(thread) : STATUS_ANSWER_FULL;
}

function answerKeys(thread: usize, flags: usize, end: usize): usize {
  const element = thread + THREAD_ELEMENT;
  decodeValue(element, flags);
  const count = load<u32>(element, SLOT_STATE_LENGTH);
  const first = <usize>load<u32>(element, SLOT_STATE_ADDRESS);
  if (count > EVALUATIONS_MAX) return tooMany(thread);
  if (!isCheap(thread, count) && !admit(thread, costOfFlagKeys(thread, first, count, end))) return STATUS_COSTLY;
  store<u32>(thread, count, THREAD_EVALUATIONS);
  startResults(thread, count);
  return answerFlagKeys(thread, first, count, end) ? finishResults(thread) : STATUS_ANSWER_FULL;
}

function tooMany(thread: usize): usize {
  store<u32>(thread, <u32>PLACE_FLAGS, THREAD_ERROR_PLACE);
  return STATUS_LIMIT;
}
