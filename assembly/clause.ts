import { matchesCidr } from "./cidr";
import { STOP_GENERAL, spend } from "./fuel";
import {
  NODE_ARGUMENT,
  NODE_BIT_KINDS,
  NODE_BIT_NEGATE,
  NODE_BIT_NOW,
  NODE_BITS,
  NODE_COUNT,
  NODE_OPERAND,
  NODE_OUTCOMES,
  NODE_SLOT,
  OP_CIDR,
  OP_CONTAINS_IGNORE_CASE,
  OP_EXISTS,
  OP_IN,
  OP_INSTANT,
  OP_MATCHES,
  OP_ONE_LAST,
  OP_ORDER,
  OP_SEGMENT,
  OP_SEMVER,
  REGEX_FUEL,
  REGEX_INPUT_BYTES_MAX,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_TYPE,
  THREAD_ELEMENT,
  THREAD_KIND_COUNT,
  THREAD_KINDS,
  THREAD_NOW,
  VALUE_ARRAY,
  VALUE_MISSING,
  VALUE_NUMBER,
  VALUE_STRING,
} from "./layout";
import { textAddress, textBytes } from "./msgpack-scan";
import { matchesInstant, matchesOrder } from "./operators-number";
import { matchesOneNumber, matchesOneString } from "./operators-one";
import { matchesIn, matchesText } from "./operators-text";
import { holdsAnySegment } from "./segment";
import { matchesSemver } from "./semver";
import { slotState } from "./slot";
import { decodeValue, setSpan, skipValue } from "./value";

// @ts-expect-error: decorator
@external("guidon", "findPattern")
declare function findPattern(block: usize, pattern: u32, input: usize, inputBytes: u32): i32;

/** Any clause, of any operator, on any attribute: 1 goes on where it matches, 0 where not, negative: the flag stops (STOP_…). */
export function matchClause(thread: usize, block: usize, refs: usize, segmentRefs: usize, node: usize, op: u32, segmentDepth: u32): i32 {
  if (op === OP_SEGMENT) return matchSegments(thread, block, segmentRefs, node, segmentDepth);
  const bits = <u32>load<u8>(node, NODE_BITS);
  if (bits > NODE_BIT_NEGATE) return matchOutside(thread, block, node, op, bits);
  const state = slotState(thread, load<u32>(refs + (<usize>load<u32>(node, NODE_SLOT) << 2)));
  const type = load<u16>(state, SLOT_STATE_TYPE);
  if (type === VALUE_MISSING || type === VALUE_ARRAY || op === OP_EXISTS) return matchUnusual(thread, block, node, op, state);
  // The clause and its values are charged at once: either way a flag that cannot pay ends here.
  if (!spend(thread, 1 + costOf(node, op, state, type))) return STOP_GENERAL;
  return <i32>matchesValue(thread, block, node, op, state);
}

function matchSegments(thread: usize, block: usize, segmentRefs: usize, node: usize, segmentDepth: u32): i32 {
  if (!spend(thread, 1)) return STOP_GENERAL;
  const count = load<u32>(node, NODE_COUNT);
  return holdsAnySegment(thread, segmentRefs, block + load<u32>(node, NODE_OPERAND), count, segmentDepth);
}

/** A missing attribute, an array, or `exists`. */
function matchUnusual(thread: usize, block: usize, node: usize, op: u32, state: usize): i32 {
  if (!spend(thread, 1)) return STOP_GENERAL;
  const type = load<u16>(state, SLOT_STATE_TYPE);
  if (op === OP_EXISTS) return <i32>(load<u32>(node, NODE_ARGUMENT) === <u32>(type !== VALUE_MISSING));
  if (type === VALUE_MISSING) return <i32>(load<u8>(node, NODE_BITS) & NODE_BIT_NEGATE);
  return matchArray(thread, block, node, op, state);
}

/** What one element costs: a string more the longer it is (docs/evaluation.md). */
// @ts-expect-error: decorator
@inline
function costOf(node: usize, op: u32, state: usize, type: u32): u64 {
  const isString = type === VALUE_STRING;
  const units = isString ? <u64>(1 + (load<u32>(state, SLOT_STATE_LENGTH) >> 6)) : <u64>1;
  if (op <= OP_IN) return units;
  const count = <u64>load<u32>(node, NODE_COUNT);
  if (op !== OP_MATCHES) return units * count;
  return isString ? count * <u64>(1 + (regexInputBytes(state) >> 6)) * REGEX_FUEL : 0;
}

/** `@now` and the context's kinds, which are there whatever the clause's kind is. */
function matchOutside(thread: usize, block: usize, node: usize, op: u32, bits: u32): i32 {
  if (!spend(thread, 1)) return STOP_GENERAL;
  const element = thread + THREAD_ELEMENT;
  if (op === OP_EXISTS) return <i32>(load<u32>(node, NODE_ARGUMENT) === 1);
  if (bits & <u32>NODE_BIT_NOW) {
    store<u32>(element, <u32>VALUE_NUMBER, SLOT_STATE_TYPE);
    store<f64>(element, load<f64>(thread, THREAD_NOW), SLOT_STATE_NUMBER);
    if (!spend(thread, costOf(node, op, element, VALUE_NUMBER))) return STOP_GENERAL;
    return <i32>matchesValue(thread, block, node, op, element);
  }
  const kinds = <usize>load<u32>(thread, THREAD_KINDS);
  const kindCount = load<u32>(thread, THREAD_KIND_COUNT);
  let cost: u64 = 0;
  for (let index: u32 = 0; index < kindCount; ++index) {
    loadKind(element, kinds, index);
    cost += costOf(node, op, element, VALUE_STRING);
  }
  if (!spend(thread, cost)) return STOP_GENERAL;
  for (let index: u32 = 0; index < kindCount; ++index) {
    loadKind(element, kinds, index);
    if (matchesValue(thread, block, node, op, element)) return 1;
  }
  return 0;
}

// @ts-expect-error: decorator
@inline
function loadKind(element: usize, kinds: usize, index: u32): void {
  const text = load<u64>(kinds + (<usize>index << 3));
  setSpan(element, VALUE_STRING, textAddress(text), textBytes(text));
}

/** One level: an element that is an array or object matches nothing. All elements are charged before the first is compared. */
function matchArray(thread: usize, block: usize, node: usize, op: u32, state: usize): i32 {
  const element = thread + THREAD_ELEMENT;
  const count = load<u32>(state, SLOT_STATE_LENGTH);
  const first = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  let cost: u64 = 0;
  let at = first;
  for (let index: u32 = 0; index < count; ++index) {
    decodeValue(element, at);
    cost += costOf(node, op, element, load<u16>(element, SLOT_STATE_TYPE));
    at = skipValue(at);
  }
  if (!spend(thread, cost)) return STOP_GENERAL;
  at = first;
  for (let index: u32 = 0; index < count; ++index) {
    decodeValue(element, at);
    if (matchesValue(thread, block, node, op, element)) return 1;
    at = skipValue(at);
  }
  return 0;
}

/** Does one value match any value of the clause? Types must agree; an array or object matches nothing. */
function matchesValue(thread: usize, block: usize, node: usize, op: u32, state: usize): bool {
  const operand = block + load<u32>(node, NODE_OPERAND);
  if (op <= OP_ONE_LAST) return matchesOne(thread, block, node, op, state);
  if (op === OP_IN) return matchesIn(block, operand, state);
  const count = load<u32>(node, NODE_COUNT);
  const outcomes = load<u8>(node, NODE_OUTCOMES);
  if (op <= OP_CONTAINS_IGNORE_CASE) return matchesText(thread, block, op, operand, count, state);
  if (op === OP_MATCHES) return matchesPattern(block, load<u32>(node, NODE_ARGUMENT), count, state);
  if (op === OP_ORDER) return matchesOrder(outcomes, operand, count, state);
  if (op === OP_INSTANT) return matchesInstant(outcomes, operand, count, state);
  if (op === OP_SEMVER) return matchesSemver(thread, block, outcomes, operand, count, state);
  return op === OP_CIDR && matchesCidr(thread, operand, count, state);
}

function matchesOne(thread: usize, block: usize, node: usize, op: u32, state: usize): bool {
  const type = load<u16>(state, SLOT_STATE_TYPE);
  if (type === VALUE_NUMBER) return matchesOneNumber(node, op, state);
  if (type !== VALUE_STRING) return false;
  return matchesOneString(thread, block, node, op, state, <usize>load<u32>(state, SLOT_STATE_ADDRESS), load<u32>(state, SLOT_STATE_LENGTH));
}

function matchesPattern(block: usize, pattern: u32, count: u32, state: usize): bool {
  if (load<u16>(state, SLOT_STATE_TYPE) !== VALUE_STRING) return false;
  const inputBytes = regexInputBytes(state);
  for (let index: u32 = 0; index < count; ++index) {
    if (findPattern(block, pattern + index, <usize>load<u32>(state, SLOT_STATE_ADDRESS), inputBytes) !== 0) return true;
  }
  return false;
}

/** The longest prefix of whole code points within the limit. */
function regexInputBytes(state: usize): u32 {
  let byteCount = load<u32>(state, SLOT_STATE_LENGTH);
  if (byteCount <= REGEX_INPUT_BYTES_MAX) return byteCount;
  byteCount = REGEX_INPUT_BYTES_MAX;
  const address = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  while ((load<u8>(address + byteCount) & 0xc0) === 0x80) --byteCount;
  return byteCount;
}
