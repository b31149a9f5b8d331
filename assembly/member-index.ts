import { weighValue } from "./admission";
import { equalBytes } from "./bytes";
import {
  IS_KIND,
  NONE,
  SHAPE_END,
  SHAPE_NAME_HEAD_BYTES,
  SHAPE_NAME_NAME_BYTES,
  SHAPE_NAME_SLOT,
  SHAPE_NAMES,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_BYTES,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_STAMP,
  SLOT_STATE_TYPE,
  THREAD_KEY_TOP,
  THREAD_KIND_AT,
  THREAD_ROOT,
  THREAD_SLOT_STATES,
  THREAD_STAMP,
  VALUE_MISSING,
  VALUE_NUMBER,
  VALUE_STRING,
} from "./layout";
import { hasKey, leaveMap, malformed, scanCommon, scanValue } from "./msgpack-scan";
import { isShapeName, learnName, nextShapeName, pushShapeNames, shapeOf } from "./shape";
import { isShortAscii } from "./utf8";
import { decodeValue } from "./value";

export const TARGETING_KEY: usize = memory.data<u8>([
  0x74, 0x61, 0x72, 0x67, 0x65, 0x74, 0x69, 0x6e, 0x67, 0x4b, 0x65, 0x79, 0x00, 0x00, 0x00, 0x00,
]);
// @ts-expect-error: decorator
@inline
export const TARGETING_KEY_BYTES: usize = 12;

/** A targeting key of no bytes is none at all. */
export function dropEmptyTargetingKey(state: usize, name: usize, nameBytes: usize): void {
  if (load<u16>(state, SLOT_STATE_TYPE) !== VALUE_STRING || load<u32>(state, SLOT_STATE_LENGTH) !== 0) return;
  if (nameBytes !== TARGETING_KEY_BYTES || !equalBytes(name, TARGETING_KEY, TARGETING_KEY_BYTES)) return;
  store<u32>(state, <u32>VALUE_MISSING, SLOT_STATE_TYPE);
}

/** Scans a value, weighs it and puts it into a SLOT_STATE that has its stamp already. */
function indexValue(thread: usize, state: usize, at: usize, end: usize, depth: u32, keysTop: usize): usize {
  store<u32>(thread, <u32>keysTop, THREAD_KEY_TOP);
  const next = scanValue(thread, at, end, depth + 1);
  if (next === 0) return 0;
  decodeValue(state, at);
  weighValue(thread, state);
  return next;
}

/**
 * Reads `count` members of the object whose first one is at `at` as attributes of a kind: those that any flag asks for go to their
 * slots, the others are only scanned. A name of the slot table is known twice by its slot's stamp, any other by its bytes.
 */
export function indexMembers(thread: usize, at: usize, end: usize, count: usize, depth: u32, kindSlot: u32): usize {
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const slots = <usize>load<u32>(thread, THREAD_SLOT_STATES);
  const stamp = load<u32>(thread, THREAD_STAMP);
  const stringHead = <u64>stamp | (<u64>VALUE_STRING << 32);
  const numberHead = <u64>stamp | (<u64>VALUE_NUMBER << 32);
  const keysBase = <usize>load<u32>(thread, THREAD_KEY_TOP);
  const shape = shapeOf(thread, root, kindSlot);
  const known = <usize>load<u32>(shape, SHAPE_END);
  let shapeName = shape + SHAPE_NAMES;
  let kindAt: usize = 0;
  let keysTop = keysBase;
  // Names of a shape differ; from the first other one on each is compared with all before it.
  let areKnown = true;
  for (; count > 0; --count) {
    const nameAt = at;
    if (shapeName < known && isShapeName(shapeName, at, end)) {
      at += <usize>load<u32>(shapeName, SHAPE_NAME_HEAD_BYTES);
    } else {
      if (areKnown) keysTop = pushShapeNames(shape, shapeName, keysTop);
      areKnown = false;
      at = learnName(thread, root, shape, shapeName, at, end);
      if (at === 0) return 0;
    }
    const valueAt = at;
    const slot = load<u32>(shapeName, SHAPE_NAME_SLOT);
    if (slot < IS_KIND) {
      const state = slots + <usize>slot * SLOT_STATE_BYTES;
      if (load<u32>(state, SLOT_STATE_STAMP) === stamp) return malformed(thread, nameAt);
      const first = valueAt < end ? <u32>load<u8>(valueAt) : 0xc1;
      const length = <usize>(first - 0xa0);
      if (length < 0x20 && length < end - valueAt && isShortAscii(valueAt + 1, length)) {
        store<u64>(state, stringHead, SLOT_STATE_STAMP);
        store<u64>(state, <u64>(valueAt + 1) | (<u64>length << 32), SLOT_STATE_ADDRESS);
        at = valueAt + 1 + length;
        if (length === 0) dropEmptyTargetingKey(state, valueAt - load<u32>(shapeName, SHAPE_NAME_NAME_BYTES), load<u32>(shapeName, SHAPE_NAME_NAME_BYTES));
      } else if (first < 0x80) {
        store<u64>(state, numberHead, SLOT_STATE_STAMP);
        store<f64>(state, <f64>first, SLOT_STATE_NUMBER);
        at = valueAt + 1;
      } else {
        store<u32>(state, stamp, SLOT_STATE_STAMP);
        at = indexValue(thread, state, valueAt, end, depth, keysTop);
        if (at === 0) return 0;
        dropEmptyTargetingKey(state, valueAt - load<u32>(shapeName, SHAPE_NAME_NAME_BYTES), load<u32>(shapeName, SHAPE_NAME_NAME_BYTES));
      }
    } else {
      if (slot === NONE) {
        if (!areKnown) {
          const length = <usize>load<u32>(shapeName, SHAPE_NAME_NAME_BYTES);
          const address = valueAt - length;
          if (hasKey(keysBase, keysTop, address, length)) return malformed(thread, nameAt);
          store<u64>(keysTop, (<u64>address << 32) | <u64>length);
          keysTop += 8;
        }
      } else {
        if (kindAt !== 0) return malformed(thread, nameAt);
        kindAt = valueAt;
      }
      at = scanCommon(valueAt, end);
      if (at === 0) {
        // What holds other keys needs to know where its own may be pushed.
        store<u32>(thread, <u32>keysTop, THREAD_KEY_TOP);
        at = scanValue(thread, valueAt, end, depth + 1);
        if (at === 0) return 0;
      }
    }
    shapeName = nextShapeName(shape, shapeName);
  }
  store<u32>(thread, <u32>keysTop, THREAD_KEY_TOP);
  store<u32>(thread, <u32>kindAt, THREAD_KIND_AT);
  return leaveMap(thread, keysBase) ? at : malformed(thread, at);
}
