import { nameHash } from "./bytes";
import { findHashedSlot } from "./find-slot";
import {
  IS_KIND,
  NONE,
  SHAPE_BYTES,
  SHAPE_COUNT,
  SHAPE_END,
  SHAPE_KIND,
  SHAPE_NAME_BYTES,
  SHAPE_NAME_COUNT,
  SHAPE_NAME_HASH,
  SHAPE_NAME_HEAD,
  SHAPE_NAME_HEAD_BYTES,
  SHAPE_NAME_HEAD_BYTES_MAX,
  SHAPE_NAME_NAME_BYTES,
  SHAPE_NAME_SLOT,
  SHAPE_NAMES,
  SHAPE_ROOT,
  THREAD_SHAPES,
} from "./layout";
import { malformed, readText, textAddress, textBytes } from "./msgpack-scan";
import { isUtf8 } from "./utf8";

/** "kind" as a little-endian word. */
const KIND_WORD: u32 = 0x646e696b;

// @ts-expect-error: decorator
@inline
export function isKindName(address: usize, length: usize): bool {
  return length === 4 && load<u32>(address) === KIND_WORD;
}

/** The SHAPE of a kind; another kind, or another root's, may take its place. */
// @ts-expect-error: decorator
@inline
export function shapeOf(thread: usize, root: usize, kindSlot: u32): usize {
  // Roots lie at multiples of at least 64 bytes.
  const place = (<usize>kindSlot ^ (root >> 7)) & (SHAPE_COUNT - 1);
  const shape = <usize>load<u32>(thread, THREAD_SHAPES) + place * SHAPE_BYTES;
  if (load<u32>(shape, SHAPE_ROOT) !== <u32>root || load<u32>(shape, SHAPE_KIND) !== kindSlot) {
    store<u32>(shape, <u32>root, SHAPE_ROOT);
    store<u32>(shape, kindSlot, SHAPE_KIND);
    store<u32>(shape, <u32>(shape + SHAPE_NAMES), SHAPE_END);
  }
  return shape;
}

/** Where the SHAPE_NAME behind this one is; the last one stands for all places from there on. */
// @ts-expect-error: decorator
@inline
export function nextShapeName(shape: usize, shapeName: usize): usize {
  return shapeName < shape + SHAPE_NAMES + SHAPE_NAME_COUNT * SHAPE_NAME_BYTES ? shapeName + SHAPE_NAME_BYTES : shapeName;
}

/** Is the name at `at` the one that stood here before, with something behind it? That one was well-formed and its slot is known. */
// @ts-expect-error: decorator
@inline
export function isShapeName(shapeName: usize, at: usize, end: usize): bool {
  const headBytes = load<u32>(shapeName, SHAPE_NAME_HEAD_BYTES);
  if (<usize>headBytes >= end - at) return false;
  // One bit for each byte that is the same.
  let same = i8x16.bitmask(i8x16.eq(v128.load(at), v128.load(shapeName, SHAPE_NAME_HEAD)));
  if (headBytes > 16) same |= i8x16.bitmask(i8x16.eq(v128.load(at, 16), v128.load(shapeName, SHAPE_NAME_HEAD + 16))) << 16;
  return (~same & ((1 << headBytes) - 1)) === 0;
}

/** Pushes the names before `shapeName` that no slot has, as if they had been read from the body. Returns the top of the keys. */
export function pushShapeNames(shape: usize, shapeName: usize, keysTop: usize): usize {
  for (let known = shape + SHAPE_NAMES; known < shapeName; known += SHAPE_NAME_BYTES) {
    if (load<u32>(known, SHAPE_NAME_SLOT) !== NONE) continue;
    const length = load<u32>(known, SHAPE_NAME_NAME_BYTES);
    const address = known + SHAPE_NAME_HEAD + (load<u32>(known, SHAPE_NAME_HEAD_BYTES) - length);
    store<u64>(keysTop, (<u64>address << 32) | <u64>length);
    keysTop += 8;
  }
  return keysTop;
}

/** Names of a shape that can be known again differ from each other, so that a context whose names are all known has none twice. */
function forgetSameName(shape: usize, shapeName: usize, hash: u32): bool {
  const end = <usize>load<u32>(shape, SHAPE_END);
  let isFirst = true;
  for (let other = shape + SHAPE_NAMES; other < end; other += SHAPE_NAME_BYTES) {
    if (other === shapeName || load<u32>(other, SHAPE_NAME_HASH) !== hash) continue;
    if (other < shapeName) isFirst = false;
    else store<u32>(other, NONE, SHAPE_NAME_HEAD_BYTES);
  }
  return isFirst;
}

/** Reads the name at `at`, finds its slot and puts both into `shapeName`. Returns the address after the name, 0 = malformed. */
export function learnName(thread: usize, root: usize, shape: usize, shapeName: usize, at: usize, end: usize): usize {
  const name = readText(at, end);
  if (name === 0) return malformed(thread, at);
  const address = textAddress(name);
  const length = textBytes(name);
  const hash = nameHash(address, length);
  let slot = IS_KIND;
  if (!isKindName(address, length)) {
    slot = findHashedSlot(root, load<u32>(shape, SHAPE_KIND), address, length, hash);
    // Names of slots are UTF-8.
    if (slot === NONE && !isUtf8(address, length)) return malformed(thread, at);
  }
  const headBytes = address + length - at;
  const isKnownAgain = forgetSameName(shape, shapeName, hash) && headBytes <= SHAPE_NAME_HEAD_BYTES_MAX;
  store<u32>(shapeName, <u32>length, SHAPE_NAME_NAME_BYTES);
  store<u32>(shapeName, slot, SHAPE_NAME_SLOT);
  store<u32>(shapeName, hash, SHAPE_NAME_HASH);
  store<u32>(shapeName, isKnownAgain ? <u32>headBytes : NONE, SHAPE_NAME_HEAD_BYTES);
  v128.store(shapeName, v128.load(at), SHAPE_NAME_HEAD);
  v128.store(shapeName, v128.load(at, 16), SHAPE_NAME_HEAD + 16);
  // The last one is never known: it lies at the end or behind it.
  const next = nextShapeName(shape, shapeName);
  if (<usize>load<u32>(shape, SHAPE_END) < next) store<u32>(shape, <u32>next, SHAPE_END);
  return address + length;
}
