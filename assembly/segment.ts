import { equalBytes } from "./bytes";
import { findRule } from "./condition";
import { STOP_GENERAL, STOP_PARSE, spend } from "./fuel";
import {
  CHUNK_BLOCK,
  CHUNK_BYTES,
  CHUNK_PREFIX,
  CHUNK_PREFIX_BITS,
  KEY_ENTRY_BYTES,
  KEY_ENTRY_HASH,
  KEY_ENTRY_OFFSET,
  KEYS_TABLE,
  KEYS_TABLE_COUNT,
  LIST_BYTES,
  LIST_CHUNK,
  LIST_CHUNK_COUNT,
  LIST_TARGETING_KEY,
  NONE,
  REFERENCE_DEPTH_MAX,
  ROOT_CHUNKS,
  ROOT_LISTS,
  ROOT_REFS,
  ROOT_SEGMENTS,
  SEGMENT_BIT_UNSERVED,
  SEGMENT_BITS,
  SEGMENT_ENTRY_BLOCK,
  SEGMENT_ENTRY_BYTES,
  SEGMENT_ENTRY_EXCLUDED,
  SEGMENT_ENTRY_EXCLUDED_COUNT,
  SEGMENT_ENTRY_INCLUDED,
  SEGMENT_ENTRY_INCLUDED_COUNT,
  SEGMENT_ENTRY_REFS,
  SEGMENT_RULE_BYTES,
  SEGMENT_RULE_COUNT,
  SEGMENT_RULE_ROLLOUT,
  SEGMENT_RULES,
  SEGMENT_SLOT_REF_COUNT,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_LENGTH,
  SLOT_STATE_TYPE,
  THREAD_BLOCKS,
  THREAD_ROOT,
  VALUE_STRING,
} from "./layout";
import { stringHash } from "./operators-text";
import { isInRollout, ROLLOUT_STOP } from "./rollout";
import { slotState } from "./slot";

/** Is the context in any of `count` segments? `names` are indexes into `segmentRefs`. 1, 0, or negative: the flag stops. */
export function holdsAnySegment(thread: usize, segmentRefs: usize, names: usize, count: u32, depth: u32): i32 {
  for (; count > 0; --count) {
    if (!spend(thread, 1)) return STOP_GENERAL;
    const segment = load<u32>(segmentRefs + (<usize>load<u32>(names) << 2));
    if (segment !== NONE) {
      const result = isInSegment(thread, segment, depth);
      if (result !== 0) return result;
    }
    names += 4;
  }
  return 0;
}

/** Included wins over excluded, both over rules. Not remembered: asked again for every clause. */
function isInSegment(thread: usize, segment: u32, depth: u32): i32 {
  if (depth > REFERENCE_DEPTH_MAX) return STOP_PARSE;
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const entry = root + load<u32>(root, ROOT_SEGMENTS) + <usize>segment * SEGMENT_ENTRY_BYTES;
  const block = blockAddress(thread, load<u32>(entry, SEGMENT_ENTRY_BLOCK));
  if (load<u32>(block, SEGMENT_BITS) & <u32>SEGMENT_BIT_UNSERVED) return STOP_PARSE;
  const included = load<u32>(entry, SEGMENT_ENTRY_INCLUDED_COUNT);
  if (included !== 0 && isListed(thread, load<u32>(entry, SEGMENT_ENTRY_INCLUDED), included)) return 1;
  const excluded = load<u32>(entry, SEGMENT_ENTRY_EXCLUDED_COUNT);
  if (excluded !== 0 && isListed(thread, load<u32>(entry, SEGMENT_ENTRY_EXCLUDED), excluded)) return 0;
  const refs = root + load<u32>(root, ROOT_REFS) + (<usize>load<u32>(entry, SEGMENT_ENTRY_REFS) << 2);
  const segmentRefs = refs + (<usize>load<u32>(block, SEGMENT_SLOT_REF_COUNT) << 2);
  let rule = block + load<u32>(block, SEGMENT_RULES);
  let left = <i32>load<u32>(block, SEGMENT_RULE_COUNT);
  while (left > 0) {
    const found = findRule(thread, block, refs, segmentRefs, rule, left, SEGMENT_RULE_BYTES, depth + 1);
    if (found <= 0) return found;
    rule += <usize>(left - found) * SEGMENT_RULE_BYTES;
    const rollout = load<u32>(rule, SEGMENT_RULE_ROLLOUT);
    const isIn: i32 = rollout === 0 ? 1 : isInRollout(thread, refs, block + rollout);
    if (isIn === ROLLOUT_STOP) return STOP_GENERAL;
    if (isIn !== 0) return 1;
    rule += SEGMENT_RULE_BYTES;
    left = found - 1;
  }
  return 0;
}

// @ts-expect-error: decorator
@inline
export function blockAddress(thread: usize, index: u32): usize {
  return load<u32>(<usize>load<u32>(thread, THREAD_BLOCKS) + (<usize>index << 2));
}

/** Each list belongs to one kind and is compared with that kind's targeting key, if it is a string. */
function isListed(thread: usize, first: u32, count: u32): bool {
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  let list = root + load<u32>(root, ROOT_LISTS) + <usize>first * LIST_BYTES;
  for (; count > 0; --count) {
    const state = slotState(thread, load<u32>(list, LIST_TARGETING_KEY));
    if (load<u16>(state, SLOT_STATE_TYPE) === VALUE_STRING && isInChunks(thread, root, list, state)) return true;
    list += LIST_BYTES;
  }
  return false;
}

/** The chunks are leaves of a trie over the hash: the last one that does not start after it is the only one that may hold it. */
function isInChunks(thread: usize, root: usize, list: usize, state: usize): bool {
  const hash = stringHash(state);
  const chunks = root + load<u32>(root, ROOT_CHUNKS) + <usize>load<u32>(list, LIST_CHUNK) * CHUNK_BYTES;
  let low: u32 = 0;
  let high = load<u32>(list, LIST_CHUNK_COUNT);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (load<u32>(chunks + <usize>middle * CHUNK_BYTES, CHUNK_PREFIX) <= hash) low = middle + 1;
    else high = middle;
  }
  if (low === 0) return false;
  const chunk = chunks + <usize>(low - 1) * CHUNK_BYTES;
  const bits = load<u32>(chunk, CHUNK_PREFIX_BITS);
  if (bits !== 0 && (hash ^ load<u32>(chunk, CHUNK_PREFIX)) >> (32 - bits) !== 0) return false;
  const block = blockAddress(thread, load<u32>(chunk, CHUNK_BLOCK));
  const address = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  return hasKey(block, hash, address, load<u32>(state, SLOT_STATE_LENGTH));
}

/** The verifier saw an empty place in the table, so the walk ends. */
function hasKey(block: usize, hash: u32, address: usize, length: u32): bool {
  const mask = load<u32>(block, KEYS_TABLE_COUNT) - 1;
  let place = hash & mask;
  while (true) {
    const entry = block + KEYS_TABLE + <usize>place * KEY_ENTRY_BYTES;
    const offset = load<u32>(entry, KEY_ENTRY_OFFSET);
    if (offset === 0) return false;
    if (load<u32>(entry, KEY_ENTRY_HASH) === hash && load<u16>(block + offset) === length) {
      if (equalBytes(block + offset + 2, address, length)) return true;
    }
    place = (place + 1) & mask;
  }
}
