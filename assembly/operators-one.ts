import {
  NODE_OPERAND,
  NODE_OUTCOMES,
  NODE_SIZE,
  NODE_VALUE,
  OP_ENDS_WITH_ONE,
  OP_IN_SHORT,
  OP_IN_TEXT,
  OP_ORDER_ONE,
  OP_SEMVER_ONE,
  OP_STARTS_WITH_ONE,
  SHORT_PAIR_BYTES,
  SHORT_PAIR_TEXT_BYTES_MAX,
  SLOT_STATE_NUMBER,
} from "./layout";
import { holdsOutcome, isFinite64 } from "./operators-number";
import { matchesSemver, NOT_PACKED, packedVersion } from "./semver";
import { lowBytes } from "./utf8";

/** The clauses whose value stands in their node. Each is inlined into the loop over the clauses of a condition. */

/** Does the string of `state` (at `address`, `length` bytes) match a clause up to OP_ONE_LAST? */
// @ts-expect-error: decorator
@inline
export function matchesOneString(thread: usize, block: usize, node: usize, op: u32, state: usize, address: usize, length: u32): bool {
  switch (op) {
    case OP_IN_TEXT:
      return length === load<u8>(node, NODE_SIZE) && isNodeText(node, address);
    case OP_IN_SHORT:
      return length <= <u32>SHORT_PAIR_TEXT_BYTES_MAX && isInPairs(block, node, address, length);
    case OP_STARTS_WITH_ONE:
      return length >= load<u8>(node, NODE_SIZE) && isNodeText(node, address);
    case OP_ENDS_WITH_ONE:
      return length >= load<u8>(node, NODE_SIZE) && isNodeText(node, address + (length - load<u8>(node, NODE_SIZE)));
    case OP_SEMVER_ONE: {
      const seen = packedVersion(state);
      const outcomes = load<u8>(node, NODE_OUTCOMES);
      if (seen !== NOT_PACKED) return holdsOutcome<u64>(outcomes, seen, load<u64>(node, NODE_VALUE));
      return matchesSemver(thread, block, outcomes, block + load<u32>(node, NODE_OPERAND), 1, state);
    }
    default:
      return false;
  }
}

/** Does the number of `state` match a clause up to OP_ONE_LAST? */
// @ts-expect-error: decorator
@inline
export function matchesOneNumber(node: usize, op: u32, state: usize): bool {
  const seen = load<f64>(state, SLOT_STATE_NUMBER);
  return op === OP_ORDER_ONE && isFinite64(seen) && holdsOutcome<f64>(load<u8>(node, NODE_OUTCOMES), seen, load<f64>(node, NODE_VALUE));
}

/** Do the node's `size` bytes stand at `at`? Reads 16 bytes there. */
// @ts-expect-error: decorator
@inline
function isNodeText(node: usize, at: usize): bool {
  const same = i8x16.bitmask(i8x16.eq(v128.load(at), v128.load(node, NODE_VALUE)));
  return (~same & ((1 << <i32>load<u8>(node, NODE_SIZE)) - 1)) === 0;
}

/** A string of up to 7 bytes and its length are one word, so equal words are equal strings. */
// @ts-expect-error: decorator
@inline
function isInPairs(block: usize, node: usize, address: usize, length: u32): bool {
  const wanted = i64x2.splat((load<u64>(address) & lowBytes(length)) | (<u64>length << 56));
  let pair = block + load<u32>(node, NODE_OPERAND);
  const end = pair + <usize>load<u8>(node, NODE_SIZE) * SHORT_PAIR_BYTES;
  let found = i64x2.splat(0);
  for (; pair < end; pair += SHORT_PAIR_BYTES) found = v128.or(found, i64x2.eq(v128.load(pair), wanted));
  return v128.any_true(found);
}
