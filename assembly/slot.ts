import { equalBytes } from "./bytes";
import {
  NONE,
  ROOT_SLOTS,
  SLOT_ARRAY_INDEX,
  SLOT_BYTES,
  SLOT_NAME_BYTES,
  SLOT_NAME_OFFSET,
  SLOT_PARENT,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_BYTES,
  SLOT_STATE_LENGTH,
  SLOT_STATE_STAMP,
  SLOT_STATE_TYPE,
  SLOT_TYPE,
  SLOT_TYPE_STEP,
  THREAD_END,
  THREAD_ROOT,
  THREAD_SLOT_STATES,
  THREAD_STAMP,
  VALUE_ARRAY,
  VALUE_MISSING,
  VALUE_OBJECT,
} from "./layout";
import { readText, textAddress, textBytes } from "./msgpack-scan";
import { decodeValue, skipValue } from "./value";

/** State of a slot for the context at hand; type VALUE_MISSING when it holds nothing. */
// @ts-expect-error: decorator
@inline
export function slotState(thread: usize, slot: u32): usize {
  const state = <usize>load<u32>(thread, THREAD_SLOT_STATES) + <usize>slot * SLOT_STATE_BYTES;
  return load<u32>(state, SLOT_STATE_STAMP) === load<u32>(thread, THREAD_STAMP) ? state : resolveSlot(thread, slot, state);
}

/** The first time a context is asked for it: an attribute that was not met is missing, a step is looked up in its parent. */
export function resolveSlot(thread: usize, slot: u32, state: usize): usize {
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const record = root + load<u32>(root, ROOT_SLOTS) + <usize>slot * SLOT_BYTES;
  store<u32>(state, load<u32>(thread, THREAD_STAMP), SLOT_STATE_STAMP);
  store<u32>(state, <u32>VALUE_MISSING, SLOT_STATE_TYPE);
  if (load<u32>(record, SLOT_TYPE) !== SLOT_TYPE_STEP) return state;
  // Parents come before their children and a chain has at most SLOT_DEPTH_MAX links: the verifier saw to both.
  const parentSlot = load<u32>(record, SLOT_PARENT);
  const parent = <usize>load<u32>(thread, THREAD_SLOT_STATES) + <usize>parentSlot * SLOT_STATE_BYTES;
  if (load<u32>(parent, SLOT_STATE_STAMP) !== load<u32>(thread, THREAD_STAMP)) resolveSlot(thread, parentSlot, parent);
  const type = load<u16>(parent, SLOT_STATE_TYPE);
  const address = <usize>load<u32>(parent, SLOT_STATE_ADDRESS);
  const count = load<u32>(parent, SLOT_STATE_LENGTH);
  let valueAt: usize = 0;
  if (type === VALUE_OBJECT) {
    valueAt = findMember(
      address,
      count,
      <usize>load<u32>(thread, THREAD_END),
      root + load<u32>(record, SLOT_NAME_OFFSET),
      load<u32>(record, SLOT_NAME_BYTES),
    );
  } else if (type === VALUE_ARRAY) {
    valueAt = findElement(address, count, load<u32>(record, SLOT_ARRAY_INDEX));
  }
  if (valueAt !== 0) decodeValue(state, valueAt);
  return state;
}

function findMember(at: usize, count: u32, end: usize, name: usize, nameBytes: usize): usize {
  for (; count > 0; --count) {
    const text = readText(at, end);
    at = textAddress(text) + textBytes(text);
    if (textBytes(text) === nameBytes && equalBytes(textAddress(text), name, nameBytes)) return at;
    at = skipValue(at);
  }
  return 0;
}

function findElement(at: usize, count: u32, index: u32): usize {
  if (index === NONE || index >= count) return 0;
  for (; index > 0; --index) at = skipValue(at);
  return at;
}
