import { copyBytes } from "./bytes";
import { flagBlock, flagEntry } from "./flag";
import {
  CALL_OPTION_CLIENT_SIDE_ONLY,
  FLAG_BIT_CLIENT_SIDE,
  FLAG_BITS,
  FLAG_ENTRY_REFS,
  FLAG_PREREQUISITES,
  FLAG_SEGMENT_REF_COUNT,
  FLAG_SLOT_REF_COUNT,
  FRAGMENT_LENGTH,
  MEMBERS_BYTES,
  MEMO_PREREQUISITE,
  NONE,
  PREREQUISITE_REF_WORDS,
  ROOT_REFS,
  THREAD_ANSWER,
  THREAD_ANSWER_CAPACITY,
  THREAD_CURSOR,
  THREAD_OPTIONS,
  THREAD_ROOT,
} from "./layout";

/** What both formats of an answer are made with. Functions that write return the address after what they wrote. */

/**
 * What a result has at most beside its variation's members or its key: revision, reason, two small fragments (192 bytes each, the
 * verifier saw to it), brackets.
 */
const RESULT_OVERHEAD_MAX: usize = 512;

// @ts-expect-error: decorator
@inline
export function writeByte(at: usize, byte: u32): usize {
  store<u8>(at, byte);
  return at + 1;
}

/** A constant: one byte of length, then the bytes. */
// @ts-expect-error: decorator
@inline
export function writeMember(at: usize, member: usize): usize {
  const byteCount = <usize>load<u8>(member);
  copyBytes(at, member + 1, byteCount);
  return at + byteCount;
}

// @ts-expect-error: decorator
@inline
export function writeFragment(at: usize, block: usize, fragment: usize): usize {
  const byteCount = <usize>load<u32>(fragment, FRAGMENT_LENGTH);
  copyBytes(at, block + load<u32>(fragment), byteCount);
  return at + byteCount;
}

/** Where the next result starts; a result that is the whole answer starts it. */
// @ts-expect-error: decorator
@inline
export function resultStart(thread: usize, isAlone: bool): usize {
  return <usize>(isAlone ? load<u32>(thread, THREAD_ANSWER) : load<u32>(thread, THREAD_CURSOR));
}

/** Does a result whose longest part has `byteCount` bytes fit? The host keeps COPY_SLACK_BYTES behind the capacity. */
// @ts-expect-error: decorator
@inline
export function hasRoom(thread: usize, at: usize, byteCount: usize): bool {
  const used = at - <usize>load<u32>(thread, THREAD_ANSWER);
  return used + byteCount + RESULT_OVERHEAD_MAX <= <usize>load<u32>(thread, THREAD_ANSWER_CAPACITY);
}

/** MEMBERS that name the failed prerequisite, 0 when there is none or the asker may not see that flag. */
// @ts-expect-error: decorator
@inline
export function visiblePrerequisite(thread: usize, flag: u32, block: usize, memo: usize): usize {
  const index = load<u32>(memo, MEMO_PREREQUISITE);
  if (index === 0) return 0;
  const members = block + load<u32>(block, FLAG_PREREQUISITES) + <usize>(index - 1) * MEMBERS_BYTES;
  if (!(load<u32>(thread, THREAD_OPTIONS) & <u32>CALL_OPTION_CLIENT_SIDE_ONLY)) return members;
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const words = load<u32>(block, FLAG_SLOT_REF_COUNT) + load<u32>(block, FLAG_SEGMENT_REF_COUNT);
  const ref = load<u32>(flagEntry(root, flag), FLAG_ENTRY_REFS) + words + (index - 1) * PREREQUISITE_REF_WORDS;
  const required = load<u32>(root + load<u32>(root, ROOT_REFS) + (<usize>ref << 2));
  if (required === NONE) return 0;
  return load<u8>(flagBlock(thread, required), FLAG_BITS) & <u32>FLAG_BIT_CLIENT_SIDE ? members : 0;
}
