import { answerFlag, costOfKey } from './ask';
import {
  PLACE_FLAGS,
  PLACE_FLAGS_ELEMENT,
  PLACE_MIN_REVISION,
  PLACE_UNKNOWN_MEMBER,
  ROOT_REVISION,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_TYPE,
  STATUS_INVALID,
  STATUS_OK,
  STATUS_REVISION_BEHIND,
  THREAD_BODY_MIN_REVISION,
  THREAD_BODY_UNKNOWN,
  THREAD_ELEMENT,
  THREAD_ERROR_INDEX,
  THREAD_ERROR_OFFSET,
  THREAD_ERROR_PLACE,
  THREAD_MIN_REVISION,
  THREAD_BODY,
  THREAD_ROOT,
  VALUE_ARRAY,
  VALUE_NUMBER,
} from './layout';
import { readName, textAddress, textBytes } from './msgpack-scan';
import { decodeValue } from './value';

/** What both requests share. A function that returns a number returns a STATUS. */

export function invalid(thread: usize, place: usize): usize {
  store<u32>(thread, <u32>place, THREAD_ERROR_PLACE);
  return STATUS_INVALID;
}

/** A member that the protocol does not name is refused: a misspelt `flags` must not ask for everything. */
// @ts-expect-error: decorator
@inline
export function checkMembers(thread: usize): usize {
  const unknown = load<u32>(thread, THREAD_BODY_UNKNOWN);
  if (unknown === 0) return STATUS_OK;
  store<u32>(thread, unknown - load<u32>(thread, THREAD_BODY), THREAD_ERROR_OFFSET);
  return invalid(thread, PLACE_UNKNOWN_MEMBER);
}

/** `minRevision` is an integer from 0; above this snapshot's revision there is no answer yet. */
// @ts-expect-error: decorator
@inline
export function checkMinRevision(thread: usize): usize {
  const at = <usize>load<u32>(thread, THREAD_BODY_MIN_REVISION);
  return at === 0 ? <usize>STATUS_OK : compareMinRevision(thread, at);
}

function compareMinRevision(thread: usize, at: usize): usize {
  const element = thread + THREAD_ELEMENT;
  decodeValue(element, at);
  if (load<u16>(element, SLOT_STATE_TYPE) !== VALUE_NUMBER) return invalid(thread, PLACE_MIN_REVISION);
  const number = load<f64>(element, SLOT_STATE_NUMBER);
  if (!(number >= 0 && number <= 9007199254740991) || floor(number) !== number)
    return invalid(thread, PLACE_MIN_REVISION);
  const minRevision = <u64>number;
  store<u64>(thread, minRevision, THREAD_MIN_REVISION);
  const revision = load<u64>(<usize>load<u32>(thread, THREAD_ROOT), ROOT_REVISION);
  return minRevision > revision ? STATUS_REVISION_BEHIND : STATUS_OK;
}

/** Are all elements of the array in THREAD_ELEMENT strings? */
export function checkFlagKeys(thread: usize, end: usize): usize {
  const element = thread + THREAD_ELEMENT;
  if (load<u16>(element, SLOT_STATE_TYPE) !== VALUE_ARRAY) return invalid(thread, PLACE_FLAGS);
  const count = load<u32>(element, SLOT_STATE_LENGTH);
  let at = <usize>load<u32>(element, SLOT_STATE_ADDRESS);
  for (let index: u32 = 0; index < count; ++index) {
    const text = readName(at, end);
    if (text === 0) {
      store<u32>(thread, index, THREAD_ERROR_INDEX);
      return invalid(thread, PLACE_FLAGS_ELEMENT);
    }
    at = textAddress(text) + textBytes(text);
  }
  return STATUS_OK;
}

/** What `count` keys that checkFlagKeys has seen may cost. */
export function costOfFlagKeys(thread: usize, at: usize, count: u32, end: usize): u64 {
  let cost: u64 = 0;
  for (; count > 0; --count) {
    const text = readName(at, end);
    cost += costOfKey(thread, textAddress(text), textBytes(text));
    at = textAddress(text) + textBytes(text);
  }
  return cost;
}

/** Answers `count` keys that checkFlagKeys has seen and whose cost is admitted. */
export function answerFlagKeys(thread: usize, at: usize, count: u32, end: usize): bool {
  for (; count > 0; --count) {
    const text = readName(at, end);
    if (!answerFlag(thread, text, false, true)) return false;
    at = textAddress(text) + textBytes(text);
  }
  return true;
}
