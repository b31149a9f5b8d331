import {
  FLAG_ENTRY_COST,
  ROOT_FLAG_COST_MAX,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_TYPE,
  THREAD_COST,
  THREAD_COST_MAX,
  THREAD_ELEMENT,
  THREAD_ROOT,
  THREAD_WEIGHT,
  VALUE_ARRAY,
  VALUE_OBJECT,
  VALUE_STRING,
} from "./layout";
import { decodeValue, skipValue } from "./value";

/**
 * How much work a call may be, summed before it is done. Every flag has a worst-case cost (engine/compile/flag-cost.ts) for contexts of
 * weight 1; a context weighs as much as the longest of its attributes that flags ask for. A request that may cost more than the
 * caller admits is not evaluated here; where only its contexts show it, nothing of what was evaluated before is used.
 */

// @ts-expect-error: decorator
@inline
export function startAdmission(thread: usize, costMax: u32): void {
  store<u64>(thread, 0, THREAD_COST);
  store<u64>(thread, costMax === 0 ? <u64>0xffffffffffffffff : <u64>costMax, THREAD_COST_MAX);
  store<u32>(thread, 1, THREAD_WEIGHT);
}

// @ts-expect-error: decorator
@inline
export function isAdmitted(thread: usize): bool {
  return load<u64>(thread, THREAD_COST) <= load<u64>(thread, THREAD_COST_MAX);
}

/** Adds what a context of weight 1 would cost, for the context at hand; false when that is too much. */
// @ts-expect-error: decorator
@inline
export function admit(thread: usize, cost: u64): bool {
  store<u64>(thread, load<u64>(thread, THREAD_COST) + cost * <u64>load<u32>(thread, THREAD_WEIGHT), THREAD_COST);
  return isAdmitted(thread);
}

/** Is it certain, without looking at any of `count` flags, that they are admitted for the context at hand? */
// @ts-expect-error: decorator
@inline
export function isCheap(thread: usize, count: u32): bool {
  const each = <u64>load<u32>(<usize>load<u32>(thread, THREAD_ROOT), ROOT_FLAG_COST_MAX);
  return <u64>count * each * <u64>load<u32>(thread, THREAD_WEIGHT) <= load<u64>(thread, THREAD_COST_MAX);
}

// @ts-expect-error: decorator
@inline
export function costOfEntry(entry: usize): u64 {
  return <u64>load<u32>(entry, FLAG_ENTRY_COST);
}

/** The context at hand has a string of so many bytes where flags look. */
// @ts-expect-error: decorator
@inline
export function weighText(thread: usize, byteCount: usize): void {
  raiseWeight(thread, 1 + <u32>(byteCount >> 6));
}

export function raiseWeight(thread: usize, weight: u32): void {
  if (weight > load<u32>(thread, THREAD_WEIGHT)) store<u32>(thread, weight, THREAD_WEIGHT);
}

/** The context at hand has the value of `state` where flags look. */
export function weighValue(thread: usize, state: usize): void {
  const type = load<u16>(state, SLOT_STATE_TYPE);
  if (type === VALUE_STRING) weighText(thread, <usize>load<u32>(state, SLOT_STATE_LENGTH));
  else if (type === VALUE_ARRAY || type === VALUE_OBJECT) raiseWeight(thread, weightWithin(thread, state));
}

/**
 * The sizes of all values inside an array or object, however deep: no less than those of the elements of any array in it, to which a
 * pointer may lead. Of the members of objects only names that are longer than 63 bytes count, which keeps the walk simple.
 */
function weightWithin(thread: usize, state: usize): u32 {
  const element = thread + THREAD_ELEMENT;
  let open = load<u32>(state, SLOT_STATE_LENGTH);
  let weight: u32 = open;
  if (load<u16>(state, SLOT_STATE_TYPE) === VALUE_OBJECT) open <<= 1;
  let at = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  while (open > 0) {
    --open;
    decodeValue(element, at);
    const type = load<u16>(element, SLOT_STATE_TYPE);
    const length = load<u32>(element, SLOT_STATE_LENGTH);
    if (type === VALUE_ARRAY || type === VALUE_OBJECT) {
      at = <usize>load<u32>(element, SLOT_STATE_ADDRESS);
      weight += length;
      open += type === VALUE_OBJECT ? length << 1 : length;
    } else {
      if (type === VALUE_STRING) weight += length >> 6;
      at = skipValue(at);
    }
  }
  return weight;
}
