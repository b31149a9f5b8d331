import { equalBytes, nameHash } from "./bytes";
import {
  NONE,
  ROOT_NAME_MARKS,
  ROOT_SLOT_HASH,
  ROOT_SLOT_HASH_COUNT,
  ROOT_SLOTS,
  SLOT_BYTES,
  SLOT_NAME_BYTES,
  SLOT_NAME_HASH,
  SLOT_NAME_OFFSET,
  SLOT_PARENT,
} from "./layout";

/** Slot of a name below `parent` (NONE: a kind), or NONE. */
export function findSlot(root: usize, parent: u32, address: usize, length: usize): u32 {
  return findHashedSlot(root, parent, address, length, nameHash(address, length));
}

export function findHashedSlot(root: usize, parent: u32, address: usize, length: usize, hash: u32): u32 {
  if (((load<u64>(root, ROOT_NAME_MARKS) >> <u64>(hash & 63)) & 1) === 0) return NONE;
  const mask = load<u32>(root, ROOT_SLOT_HASH_COUNT) - 1;
  const table = root + load<u32>(root, ROOT_SLOT_HASH);
  const slots = root + load<u32>(root, ROOT_SLOTS);
  // The verifier saw an empty place, so the walk ends.
  let place = (hash ^ (parent * 0x9e3779b1)) & mask;
  while (true) {
    const entry = load<u32>(table + (<usize>place << 2));
    if (entry === 0) return NONE;
    const slot = slots + <usize>(entry - 1) * SLOT_BYTES;
    if (
      load<u32>(slot, SLOT_NAME_HASH) === hash &&
      load<u32>(slot, SLOT_PARENT) === parent &&
      load<u32>(slot, SLOT_NAME_BYTES) === <u32>length &&
      equalBytes(root + load<u32>(slot, SLOT_NAME_OFFSET), address, length)
    ) {
      return entry - 1;
    }
    place = (place + 1) & mask;
  }
}
