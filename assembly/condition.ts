import { matchClause } from "./clause";
import {
  ALWAYS,
  NEVER,
  NODE_BIT_NEGATE,
  NODE_BITS,
  NODE_BYTES,
  NODE_ON_MATCH,
  NODE_ON_MISMATCH,
  NODE_OP,
  NODE_SLOT,
  OP_ONE_LAST,
  RULE_ENTRY,
  RULE_NODES,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_BYTES,
  SLOT_STATE_LENGTH,
  SLOT_STATE_STAMP,
  THREAD_FUEL,
  THREAD_SLOT_STATES,
  THREAD_STAMP,
  VALUE_MISSING,
  VALUE_NUMBER,
  VALUE_STRING,
} from "./layout";
import { matchesOneNumber, matchesOneString } from "./operators-one";

/** Stamp and type of a SLOT_STATE in one word, without what is derived. */
const HEAD_BITS: u64 = 0x0000ffffffffffff;

/**
 * Runs the conditions of `count` rules from `rule` on (RULE or SEGMENT_RULE, `ruleBytes` each, which begin alike) up to the first that
 * holds. Returns how many rules are left with that one, 0 = none holds, negative: the flag stops (STOP_…). Jumps only go forward.
 * `segmentDepth` is the depth at which a segment named here would be: 0 in a flag's rule, one more in each segment's.
 */
export function findRule(
  thread: usize,
  block: usize,
  refs: usize,
  segmentRefs: usize,
  rule: usize,
  count: i32,
  ruleBytes: usize,
  segmentDepth: u32,
): i32 {
  const states = <usize>load<u32>(thread, THREAD_SLOT_STATES);
  const stamp = load<u32>(thread, THREAD_STAMP);
  // Kept out of memory between the clauses that hold their own value: bench W3.
  let fuel = <u32>load<u64>(thread, THREAD_FUEL);
  const missingHead = <u64>stamp | (<u64>VALUE_MISSING << 32);
  const stringHead = <u64>stamp | (<u64>VALUE_STRING << 32);
  const numberHead = <u64>stamp | (<u64>VALUE_NUMBER << 32);
  for (; count > 0; --count) {
    const nodes = block + load<u32>(rule, RULE_NODES);
    let label = <u32>load<u16>(rule, RULE_ENTRY);
    while (label < NEVER) {
      const node = nodes + <usize>label * NODE_BYTES;
      const op = <u32>load<u8>(node, NODE_OP);
      let result: i32 = -1;
      if (op <= OP_ONE_LAST) {
        const slot = <usize>load<u32>(refs + (<usize>load<u32>(node, NODE_SLOT) << 2));
        const state = states + slot * SLOT_STATE_BYTES;
        const head = load<u64>(state, SLOT_STATE_STAMP) & HEAD_BITS;
        if (head === stringHead) {
          const length = load<u32>(state, SLOT_STATE_LENGTH);
          // The clause and its attribute are charged at once: either way a flag that cannot pay ends here.
          const cost: u32 = 2 + (length >> 6);
          if (cost <= fuel) {
            fuel -= cost;
            result = <i32>matchesOneString(thread, block, node, op, state, <usize>load<u32>(state, SLOT_STATE_ADDRESS), length);
          }
        } else if (head === numberHead) {
          if (fuel >= 2) {
            fuel -= 2;
            result = <i32>matchesOneNumber(node, op, state);
          }
        } else if (head === missingHead && fuel >= 1) {
          fuel -= 1;
          result = <i32>(load<u8>(node, NODE_BITS) & NODE_BIT_NEGATE);
        }
      }
      if (result < 0) {
        // Another clause, another type, a slot not looked at yet, or no fuel for it, which is found out once more there.
        store<u64>(thread, fuel, THREAD_FUEL);
        result = matchClause(thread, block, refs, segmentRefs, node, op, segmentDepth);
        if (result < 0) return result;
        fuel = <u32>load<u64>(thread, THREAD_FUEL);
      }
      label = result !== 0 ? load<u16>(node, NODE_ON_MATCH) : load<u16>(node, NODE_ON_MISMATCH);
    }
    if (label === ALWAYS) break;
    rule += ruleBytes;
  }
  store<u64>(thread, fuel, THREAD_FUEL);
  return count;
}
