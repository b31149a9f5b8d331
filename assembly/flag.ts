import { findRule } from "./condition";
import { STOP_GENERAL, STOP_PARSE, spend } from "./fuel";
import {
  ERROR_GENERAL,
  ERROR_NONE,
  ERROR_PARSE_ERROR,
  ERROR_TARGETING_KEY_MISSING,
  FLAG_BIT_ON,
  FLAG_BIT_STATIC,
  FLAG_BIT_UNSERVED,
  FLAG_BITS,
  FLAG_ENTRY_BLOCK,
  FLAG_ENTRY_BYTES,
  FLAG_ENTRY_REFS,
  FLAG_FALLTHROUGH_ROLLOUT,
  FLAG_FALLTHROUGH_VARIATION,
  FLAG_FUEL,
  FLAG_OFF_VARIATION,
  FLAG_PREREQUISITE_COUNT,
  FLAG_RULE_COUNT,
  FLAG_RULES,
  FLAG_SEGMENT_REF_COUNT,
  FLAG_SLOT_REF_COUNT,
  FLAG_TARGET_COUNT,
  FLAG_TARGETS,
  MEMO_BYTES,
  MEMO_ERROR,
  MEMO_EXPERIMENT,
  MEMO_PREREQUISITE,
  MEMO_REASON,
  MEMO_RULE,
  MEMO_STAMP,
  MEMO_VARIATION,
  NONE,
  PREREQUISITE_REF_WORDS,
  REASON_DEFAULT,
  REASON_DISABLED,
  REASON_SPLIT,
  REASON_STATIC,
  REASON_TARGETING_MATCH,
  REFERENCE_DEPTH_MAX,
  REQUEST_FUEL,
  ROLLOUT_BIT_EXPERIMENT,
  ROLLOUT_BIT_TARGETING_KEY,
  ROLLOUT_BITS,
  ROOT_FLAGS,
  ROOT_REFS,
  RULE_BYTES,
  RULE_ROLLOUT,
  RULE_VARIATION,
  SLOT_STATE_TYPE,
  TARGET_BYTES,
  TARGET_KEYS,
  TARGET_TARGETING_KEY,
  TARGET_VARIATION,
  THREAD_FUEL,
  THREAD_MEMOS,
  THREAD_REQUEST_FUEL,
  THREAD_ROOT,
  THREAD_STAMP,
  VALUE_STRING,
} from "./layout";
import { isInStringSet } from "./operators-text";
import { decideRollout, ROLLOUT_MISSING, ROLLOUT_STOP } from "./rollout";
import { blockAddress } from "./segment";
import { slotState } from "./slot";

// @ts-expect-error: decorator
@inline
export function flagEntry(root: usize, flag: u32): usize {
  return root + load<u32>(root, ROOT_FLAGS) + <usize>flag * FLAG_ENTRY_BYTES;
}

/** Block of a flag of the snapshot at hand. */
// @ts-expect-error: decorator
@inline
export function flagBlock(thread: usize, flag: u32): usize {
  return blockAddress(thread, load<u32>(flagEntry(<usize>load<u32>(thread, THREAD_ROOT), flag), FLAG_ENTRY_BLOCK));
}

/**
 * The MEMO of a flag for the context at hand, evaluated if it was not yet: at most once per context. Each flag has a full tank of its
 * own, so what was evaluated before changes no answer. `depth` counts edges from the asked flag.
 */
export function evaluateFlag(thread: usize, flag: u32, depth: u32): usize {
  const memo = <usize>load<u32>(thread, THREAD_MEMOS) + <usize>flag * MEMO_BYTES;
  const stamp = load<u32>(thread, THREAD_STAMP);
  if (load<u32>(memo, MEMO_STAMP) === stamp) return memo;
  const fuel = load<u64>(thread, THREAD_FUEL);
  const requestFuel = load<u64>(thread, THREAD_REQUEST_FUEL);
  // A request that has used up its own is refused, whatever this flag says: it only has to end.
  const tank: u64 = requestFuel > <u64>REQUEST_FUEL ? 0 : <u64>FLAG_FUEL;
  store<u64>(thread, tank, THREAD_FUEL);
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const entry = flagEntry(root, flag);
  const block = blockAddress(thread, load<u32>(entry, FLAG_ENTRY_BLOCK));
  const refs = root + load<u32>(root, ROOT_REFS) + (<usize>load<u32>(entry, FLAG_ENTRY_REFS) << 2);
  // error, reason, variation and experiment are one word, then rule and prerequisite.
  store<u32>(memo, 0, MEMO_ERROR);
  store<u64>(memo, 0, MEMO_RULE);
  const error = decide(thread, block, refs, memo, depth);
  if (error !== <u32>ERROR_NONE) store<u8>(memo, error, MEMO_ERROR);
  store<u32>(memo, stamp, MEMO_STAMP);
  // Prerequisites have added theirs meanwhile.
  const used = tank - load<u64>(thread, THREAD_FUEL);
  store<u64>(thread, load<u64>(thread, THREAD_REQUEST_FUEL) + used, THREAD_REQUEST_FUEL);
  store<u64>(thread, fuel, THREAD_FUEL);
  return memo;
}

// @ts-expect-error: decorator
@inline
function serve(memo: usize, variation: u32, reason: usize): u32 {
  store<u8>(memo, variation, MEMO_VARIATION);
  store<u8>(memo, <u32>reason, MEMO_REASON);
  return <u32>ERROR_NONE;
}

// @ts-expect-error: decorator
@inline
function errorOfStop(stop: i32): u32 {
  return stop === STOP_GENERAL ? <u32>ERROR_GENERAL : <u32>ERROR_PARSE_ERROR;
}

/** The order of evaluation of the flag model, from step 2 on. Fills the memo; returns an error or ERROR_NONE. */
// @ts-expect-error: decorator
@inline
function decide(thread: usize, block: usize, refs: usize, memo: usize, depth: u32): u32 {
  const bits = <u32>load<u8>(block, FLAG_BITS);
  if (bits & <u32>FLAG_BIT_UNSERVED) return <u32>ERROR_PARSE_ERROR;
  if (!(bits & <u32>FLAG_BIT_ON)) return serve(memo, load<u8>(block, FLAG_OFF_VARIATION), REASON_DISABLED);
  if (!(bits & <u32>FLAG_BIT_STATIC)) {
    const segmentRefs = refs + (<usize>load<u32>(block, FLAG_SLOT_REF_COUNT) << 2);
    if (load<u32>(block, FLAG_PREREQUISITE_COUNT) !== 0) {
      const met = meetsPrerequisites(thread, block, segmentRefs, memo, depth);
      if (met < 0) return errorOfStop(met);
      if (met === 0) return serve(memo, load<u8>(block, FLAG_OFF_VARIATION), REASON_DISABLED);
    }
    const served = serveTargetOrRule(thread, block, refs, segmentRefs, memo);
    if (served < 0) return errorOfStop(served);
    if (served !== 0) return <u32>ERROR_NONE;
  }
  return serveFallthrough(thread, block, refs, memo, bits);
}

/** 1 all are met, 0 one failed and stands in the memo, negative: stop. */
function meetsPrerequisites(thread: usize, block: usize, segmentRefs: usize, memo: usize, depth: u32): i32 {
  const count = load<u32>(block, FLAG_PREREQUISITE_COUNT);
  let ref = segmentRefs + (<usize>load<u32>(block, FLAG_SEGMENT_REF_COUNT) << 2);
  for (let index: u32 = 0; index < count; ++index) {
    if (!spend(thread, 4)) return STOP_GENERAL;
    const met = meetsPrerequisite(thread, ref, depth);
    if (met < 0) return met;
    if (met === 0) {
      store<u32>(memo, index + 1, MEMO_PREREQUISITE);
      return 0;
    }
    ref += PREREQUISITE_REF_WORDS << 2;
  }
  return 1;
}

/** On, and serving one of the listed variations. */
function meetsPrerequisite(thread: usize, ref: usize, depth: u32): i32 {
  const flag = load<u32>(ref);
  if (flag === NONE) return 0;
  if (depth >= REFERENCE_DEPTH_MAX) return STOP_PARSE;
  const memo = evaluateFlag(thread, flag, depth + 1);
  const error = <u32>load<u8>(memo, MEMO_ERROR);
  if (error !== <u32>ERROR_NONE) return error === <u32>ERROR_PARSE_ERROR ? STOP_PARSE : 0;
  if (!(load<u8>(flagBlock(thread, flag), FLAG_BITS) & <u32>FLAG_BIT_ON)) return 0;
  const mask = <u64>load<u32>(ref, 4) | (<u64>load<u32>(ref, 8) << 32);
  return <i32>((mask >> <u64>load<u8>(memo, MEMO_VARIATION)) & 1);
}

/** 1 served, 0 nothing matched, negative: stop. */
function serveTargetOrRule(thread: usize, block: usize, refs: usize, segmentRefs: usize, memo: usize): i32 {
  let target = block + load<u32>(block, FLAG_TARGETS);
  for (let left = load<u32>(block, FLAG_TARGET_COUNT); left > 0; --left) {
    if (!spend(thread, 1)) return STOP_GENERAL;
    const state = slotState(thread, load<u32>(refs + (<usize>load<u32>(target, TARGET_TARGETING_KEY) << 2)));
    if (load<u16>(state, SLOT_STATE_TYPE) === VALUE_STRING && isInStringSet(block, block + load<u32>(target, TARGET_KEYS), state)) {
      serve(memo, load<u32>(target, TARGET_VARIATION), REASON_TARGETING_MATCH);
      return 1;
    }
    target += TARGET_BYTES;
  }
  let left = <i32>load<u32>(block, FLAG_RULE_COUNT);
  let rule = load<u32>(block, FLAG_RULES);
  while (left > 0) {
    const found = findRule(thread, block, refs, segmentRefs, block + rule, left, RULE_BYTES, 0);
    if (found <= 0) return found;
    rule += <u32>(left - found) * <u32>RULE_BYTES;
    const served = serveRule(thread, block, refs, memo, rule);
    if (served !== 0) return served;
    rule += <u32>RULE_BYTES;
    left = found - 1;
  }
  return 0;
}

/** 1 served, 0 the rule serves a rollout that is not entered, so that the next one is asked, negative: stop. */
function serveRule(thread: usize, block: usize, refs: usize, memo: usize, rule: u32): i32 {
  const at = block + rule;
  const rollout = load<u32>(at, RULE_ROLLOUT);
  if (rollout === 0) {
    serve(memo, load<u32>(at, RULE_VARIATION), REASON_TARGETING_MATCH);
  } else {
    const variation = decideRollout(thread, refs, block + rollout);
    if (variation < 0) return variation === ROLLOUT_STOP ? STOP_GENERAL : 0;
    serveRollout(memo, block + rollout, variation);
  }
  store<u32>(memo, rule, MEMO_RULE);
  return 1;
}

// @ts-expect-error: decorator
@inline
function serveRollout(memo: usize, rollout: usize, variation: i32): u32 {
  const bits = load<u32>(rollout, ROLLOUT_BITS);
  store<u8>(memo, <u32>((bits & <u32>ROLLOUT_BIT_EXPERIMENT) !== 0), MEMO_EXPERIMENT);
  return serve(memo, variation, REASON_SPLIT);
}

// @ts-expect-error: decorator
@inline
function serveFallthrough(thread: usize, block: usize, refs: usize, memo: usize, flagBits: u32): u32 {
  const rollout = load<u32>(block, FLAG_FALLTHROUGH_ROLLOUT);
  if (rollout === 0) {
    const reason = flagBits & <u32>FLAG_BIT_STATIC ? REASON_STATIC : REASON_DEFAULT;
    return serve(memo, load<u32>(block, FLAG_FALLTHROUGH_VARIATION), reason);
  }
  const variation = decideRollout(thread, refs, block + rollout);
  if (variation >= 0) return serveRollout(memo, block + rollout, variation);
  if (variation === ROLLOUT_STOP) return <u32>ERROR_GENERAL;
  const isByTargetingKey = (load<u32>(block + rollout, ROLLOUT_BITS) & <u32>ROLLOUT_BIT_TARGETING_KEY) !== 0;
  if (variation === ROLLOUT_MISSING && isByTargetingKey) return <u32>ERROR_TARGETING_KEY_MISSING;
  return serve(memo, load<u8>(block, FLAG_OFF_VARIATION), REASON_DEFAULT);
}
