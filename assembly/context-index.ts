import { raiseWeight, weighText, weighValue } from "./admission";
import { equalBytes, nameHash } from "./bytes";
import {
  CONTEXT_ATTRIBUTES_MAX,
  CONTEXT_BYTES_MAX,
  CONTEXT_DEPTH_MAX,
  CONTEXT_STATE_INVALID,
  CONTEXT_STATE_OVER_LIMIT,
  CONTEXT_STATE_VALID,
  MSGPACK_KINDS_MAX,
  NONE,
  ROOT_SLOT_HASH,
  ROOT_SLOT_HASH_COUNT,
  ROOT_NAME_MARKS,
  ROOT_SLOTS,
  ROOT_USER_KIND,
  SHAPE_BYTES,
  SHAPE_COUNT,
  SHAPE_KIND,
  SHAPE_NAMES,
  SHAPE_NAME_BYTES,
  SHAPE_NAME_COUNT,
  SHAPE_NAME_FIRST,
  SHAPE_NAME_HASH,
  SHAPE_NAME_LAST,
  SHAPE_NAME_LENGTH,
  SHAPE_NAME_LENGTH_MAX,
  SHAPE_NAME_MIDDLE,
  SHAPE_NAME_SLOT,
  SHAPE_ROOT,
  SLOT_BYTES,
  SLOT_NAME_BYTES,
  SLOT_NAME_HASH,
  SLOT_NAME_OFFSET,
  SLOT_PARENT,
  SLOT_STATE_BYTES,
  SLOT_STATE_DERIVED,
  SLOT_STATE_LENGTH,
  SLOT_STATE_STAMP,
  SLOT_STATE_TYPE,
  THREAD_CONTEXT_STATE,
  THREAD_DEPTH_MAX,
  THREAD_ELEMENT,
  THREAD_KEY_TOP,
  THREAD_KIND_AT,
  THREAD_KIND_COUNT,
  THREAD_KINDS,
  THREAD_MEMBERS,
  THREAD_MULTI,
  THREAD_ROOT,
  THREAD_SHAPES,
  THREAD_SLOT_STATES,
  THREAD_STAMP,
  THREAD_WEIGHT,
  VALUE_MISSING,
  VALUE_STRING,
} from "./layout";
import {
  enterMap,
  hasKey,
  leaveMap,
  malformed,
  readName,
  readText,
  scanValue,
  textAddress,
  textBytes,
} from "./msgpack-scan";
import { isUtf8, lowBytes } from "./utf8";
import { decodeValue, setSpan } from "./value";

const USER: usize = memory.data<u8>([0x75, 0x73, 0x65, 0x72]);
const TARGETING_KEY: usize = memory.data<u8>([0x74, 0x61, 0x72, 0x67, 0x65, 0x74, 0x69, 0x6e, 0x67, 0x4b, 0x65, 0x79]);
const TARGETING_KEY_BYTES: usize = 12;
/** "kind" as a little-endian word. */
const KIND_WORD: u32 = 0x646e696b;
/** "multi" as a word and its last byte. */
const MULTI_WORD: u32 = 0x746c756d;

/** Forgets the context before: whatever carries an older stamp is absent. */
// @ts-expect-error: decorator
@inline
export function startContext(thread: usize): void {
  store<u32>(thread, load<u32>(thread, THREAD_STAMP) + 1, THREAD_STAMP);
  store<u32>(thread, 0, THREAD_KIND_COUNT);
  store<u32>(thread, 0, THREAD_KIND_AT);
  store<u32>(thread, 0, THREAD_MULTI);
  store<u32>(thread, <u32>CONTEXT_STATE_VALID, THREAD_CONTEXT_STATE);
  store<u32>(thread, 1, THREAD_WEIGHT);
}

/** A context of kind `user` without any attribute. */
export function startEmptyContext(thread: usize): void {
  startContext(thread);
  addKind(thread, USER, 4);
}

// @ts-expect-error: decorator
@inline
function addKind(thread: usize, address: usize, length: usize): void {
  const count = load<u32>(thread, THREAD_KIND_COUNT);
  // A context with more kinds than this is over its limit of attributes and will not be evaluated.
  if (count >= MSGPACK_KINDS_MAX) return;
  store<u64>(<usize>load<u32>(thread, THREAD_KINDS) + (<usize>count << 3), (<u64>address << 32) | <u64>length);
  store<u32>(thread, count + 1, THREAD_KIND_COUNT);
}

/** Slot of a name below `parent` (NONE: a kind), or NONE. */
function findSlot(root: usize, parent: u32, address: usize, length: usize): u32 {
  return findHashedSlot(root, parent, address, length, nameHash(address, length));
}

function findHashedSlot(root: usize, parent: u32, address: usize, length: usize, hash: u32): u32 {
  if (((load<u64>(root, ROOT_NAME_MARKS) >> <u64>(hash & 63)) & 1) === 0) return NONE;
  const mask = load<u32>(root, ROOT_SLOT_HASH_COUNT) - 1;
  const table = root + load<u32>(root, ROOT_SLOT_HASH);
  const slots = root + load<u32>(root, ROOT_SLOTS);
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

/**
 * Reads one context, untrusted, and puts the value of each attribute that any flag asks for into its slot: once per context, whatever
 * the number of flags. Returns the address after it, 0 = malformed; THREAD_CONTEXT_STATE says whether it can be evaluated.
 */
export function indexContext(thread: usize, at: usize, end: usize, depth: u32): usize {
  startContext(thread);
  store<u32>(thread, 0, THREAD_MEMBERS);
  store<u32>(thread, 0, THREAD_DEPTH_MAX);
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const isObject = isMapAt(at, end);
  const next = isObject
    ? indexObject(thread, at, end, depth, load<u32>(root, ROOT_USER_KIND))
    : scanValue(thread, at, end, depth);
  if (next === 0) return 0;
  if (isOverLimit(thread, next - at, depth)) {
    store<u32>(thread, <u32>CONTEXT_STATE_OVER_LIMIT, THREAD_CONTEXT_STATE);
  } else if (!isObject || !indexKind(thread, at, end, depth)) {
    store<u32>(thread, <u32>CONTEXT_STATE_INVALID, THREAD_CONTEXT_STATE);
  }
  return next;
}

// @ts-expect-error: decorator
@inline
function isOverLimit(thread: usize, byteCount: usize, depth: u32): bool {
  return (
    byteCount > CONTEXT_BYTES_MAX ||
    load<u32>(thread, THREAD_MEMBERS) > CONTEXT_ATTRIBUTES_MAX ||
    load<u32>(thread, THREAD_DEPTH_MAX) >= depth + CONTEXT_DEPTH_MAX
  );
}

// @ts-expect-error: decorator
@inline
export function isMapAt(at: usize, end: usize): bool {
  if (at >= end) return false;
  const first = <u32>load<u8>(at);
  return (first & 0xf0) === 0x80 || first === 0xde || first === 0xdf;
}

/** It was read as kind `user`; when it says otherwise it is read again as what it is. False: no valid kind. */
// @ts-expect-error: decorator
@inline
function indexKind(thread: usize, at: usize, end: usize, depth: u32): bool {
  const kindAt = <usize>load<u32>(thread, THREAD_KIND_AT);
  if (kindAt !== 0 && load<u8>(kindAt) !== 0xc0) return indexNamedKind(thread, at, end, depth, kindAt);
  addKind(thread, USER, 4);
  return true;
}

function indexNamedKind(thread: usize, at: usize, end: usize, depth: u32, kindAt: usize): bool {
  const text = readText(kindAt, end);
  const address = textAddress(text);
  const length = textBytes(text);
  if (length === 0) return false;
  if (length === 4 && equalBytes(address, USER, 4)) {
    addKind(thread, USER, 4);
    return true;
  }
  startContext(thread);
  if (length === 5 && load<u32>(address) === MULTI_WORD && load<u8>(address, 4) === 0x69) {
    store<u32>(thread, 1, THREAD_MULTI);
    indexKinds(thread, at, end, depth);
    return true;
  }
  addKind(thread, address, length);
  weighText(thread, length);
  const slot = findSlot(<usize>load<u32>(thread, THREAD_ROOT), NONE, address, length);
  if (slot !== NONE) indexObject(thread, at, end, depth, slot);
  return true;
}

/** A multi context: each member but `kind` whose value is an object is a kind. The bytes were accepted before. */
function indexKinds(thread: usize, at: usize, end: usize, depth: u32): void {
  const element = thread + THREAD_ELEMENT;
  decodeValue(element, at);
  let count = load<u32>(element, SLOT_STATE_LENGTH);
  // A clause on `kind` compares every kind.
  let kindsWeight: u32 = 0;
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  at = mapStart(at);
  for (; count > 0; --count) {
    const text = readText(at, end);
    const address = textAddress(text);
    const length = textBytes(text);
    at = address + length;
    if (isMapAt(at, end) && !isKindName(address, length)) {
      addKind(thread, address, length);
      kindsWeight += 1 + <u32>(length >> 6);
      const slot = findSlot(root, NONE, address, length);
      if (slot !== NONE) {
        at = indexObject(thread, at, end, depth + 1, slot);
        continue;
      }
    }
    at = scanValue(thread, at, end, depth + 1);
  }
  raiseWeight(thread, kindsWeight);
}

// @ts-expect-error: decorator
@inline
function isKindName(address: usize, length: usize): bool {
  return length === 4 && load<u32>(address) === KIND_WORD;
}

/** Bytes of the header of a map that starts with `first`. */
// @ts-expect-error: decorator
@inline
export function mapHeaderBytes(first: u32): usize {
  return first === 0xde ? 3 : first === 0xdf ? 5 : 1;
}

/** Where the first member of the map at `at` starts. */
// @ts-expect-error: decorator
@inline
export function mapStart(at: usize): usize {
  const first = <u32>load<u8>(at);
  return at + mapHeaderBytes(first);
}

/** Reads the object at `at` (isMapAt) as the attributes of a kind. */
function indexObject(thread: usize, at: usize, end: usize, depth: u32, kindSlot: u32): usize {
  const first = <u32>load<u8>(at);
  let count: usize = first & 0x0f;
  if (first >= 0xde) {
    if (end - at < mapHeaderBytes(first)) return malformed(thread, at);
    count = first === 0xde ? <usize>bswap<u16>(load<u16>(at, 1)) : <usize>bswap<u32>(load<u32>(at, 1));
  }
  const start = mapStart(at);
  if (!enterMap(thread, start, end, count, depth)) return malformed(thread, at);
  return indexMembers(thread, start, end, count, depth, kindSlot);
}

/** The SHAPE of a kind; another kind may take its place. */
function shapeOf(thread: usize, root: usize, kindSlot: u32): usize {
  const shape = <usize>load<u32>(thread, THREAD_SHAPES) + <usize>(kindSlot & (<u32>SHAPE_COUNT - 1)) * SHAPE_BYTES;
  if (load<u32>(shape, SHAPE_ROOT) !== <u32>root || load<u32>(shape, SHAPE_KIND) !== kindSlot) {
    memory.fill(shape, 0, SHAPE_BYTES);
    store<u32>(shape, <u32>root, SHAPE_ROOT);
    store<u32>(shape, kindSlot, SHAPE_KIND);
  }
  return shape;
}

/** Is it the name that stood here before? That one was well-formed and its slot is known. */
// @ts-expect-error: decorator
@inline
function isShapeName(shapeName: usize, address: usize, length: usize): bool {
  if (load<u32>(shapeName, SHAPE_NAME_LENGTH) !== <u32>length || length === 0) return false;
  if (length < 8) return (load<u64>(address) & lowBytes(length)) === load<u64>(shapeName, SHAPE_NAME_FIRST);
  if (load<u64>(address) !== load<u64>(shapeName, SHAPE_NAME_FIRST)) return false;
  if (load<u64>(address + length - 8) !== load<u64>(shapeName, SHAPE_NAME_LAST)) return false;
  return length <= 16 || load<u64>(address, 8) === load<u64>(shapeName, SHAPE_NAME_MIDDLE);
}

function setShapeName(shapeName: usize, address: usize, length: usize, slot: u32, hash: u32): void {
  if (length > SHAPE_NAME_LENGTH_MAX) {
    store<u32>(shapeName, 0, SHAPE_NAME_LENGTH);
    return;
  }
  store<u32>(shapeName, <u32>length, SHAPE_NAME_LENGTH);
  store<u32>(shapeName, slot, SHAPE_NAME_SLOT);
  store<u32>(shapeName, hash, SHAPE_NAME_HASH);
  const first = load<u64>(address);
  store<u64>(shapeName, length < 8 ? first & lowBytes(length) : first, SHAPE_NAME_FIRST);
  store<u64>(shapeName, load<u64>(address + length - 8), SHAPE_NAME_LAST);
  store<u64>(shapeName, load<u64>(address, 8), SHAPE_NAME_MIDDLE);
}

/** Scans and decodes the commonest value; 0 = it is another one, or malformed. */
// @ts-expect-error: decorator
@inline
function readShortText(state: usize, at: usize, end: usize): usize {
  if (at >= end) return 0;
  const length = <usize>load<u8>(at) - 0xa0;
  if (length >= 0x20 || length >= end - at || !isUtf8(at + 1, length)) return 0;
  store<u32>(state, 0, SLOT_STATE_DERIVED);
  setSpan(state, VALUE_STRING, at + 1, length);
  return at + 1 + length;
}

/** scanValue, the commonest values first. What holds other keys needs to know where its own may be pushed. */
// @ts-expect-error: decorator
@inline
function scanMember(thread: usize, at: usize, end: usize, depth: u32, keysTop: usize): usize {
  if (at < end) {
    const first = <u32>load<u8>(at);
    if (first < 0x80) return at + 1;
    const length = <usize>(first - 0xa0);
    if (length < 0x20 && length < end - at && isUtf8(at + 1, length)) return at + 1 + length;
  }
  store<u32>(thread, <u32>keysTop, THREAD_KEY_TOP);
  return scanValue(thread, at, end, depth + 1);
}

function indexMembers(thread: usize, at: usize, end: usize, count: usize, depth: u32, kindSlot: u32): usize {
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const slots = <usize>load<u32>(thread, THREAD_SLOT_STATES);
  const stamp = load<u32>(thread, THREAD_STAMP);
  const keysBase = <usize>load<u32>(thread, THREAD_KEY_TOP);
  let seen: u64 = 0;
  let kindAt: usize = 0;
  let keysTop = keysBase;
  let shapeName = shapeOf(thread, root, kindSlot) + SHAPE_NAMES;
  let position: u32 = 0;
  for (; count > 0; --count) {
    const name = readName(at, end);
    if (name === 0) return malformed(thread, at);
    const address = textAddress(name);
    const length = textBytes(name);
    const valueAt = address + length;
    if (isKindName(address, length)) {
      if (kindAt !== 0) return malformed(thread, at);
      kindAt = valueAt;
      at = scanMember(thread, valueAt, end, depth, keysTop);
      if (at === 0) return 0;
      continue;
    }
    let slot: u32;
    let hash: u32;
    if (position < <u32>SHAPE_NAME_COUNT && isShapeName(shapeName, address, length)) {
      slot = load<u32>(shapeName, SHAPE_NAME_SLOT);
      hash = load<u32>(shapeName, SHAPE_NAME_HASH);
    } else {
      hash = nameHash(address, length);
      slot = findHashedSlot(root, kindSlot, address, length, hash);
      if (slot === NONE && !isUtf8(address, length)) return malformed(thread, at);
      if (position < <u32>SHAPE_NAME_COUNT) setShapeName(shapeName, address, length, slot, hash);
    }
    position += 1;
    shapeName += SHAPE_NAME_BYTES;
    if (slot !== NONE) {
      // A name of the slot table is compared by its slot, the others with each other.
      const state = slots + <usize>slot * SLOT_STATE_BYTES;
      if (load<u32>(state, SLOT_STATE_STAMP) === stamp) return malformed(thread, at);
      store<u32>(state, stamp, SLOT_STATE_STAMP);
      at = readShortText(state, valueAt, end);
      if (at === 0) {
        at = scanMember(thread, valueAt, end, depth, keysTop);
        if (at === 0) return 0;
        decodeValue(state, valueAt);
        weighValue(thread, state);
      }
      if (length === TARGETING_KEY_BYTES && isEmptyTargetingKey(state, address)) {
        store<u32>(state, <u32>VALUE_MISSING, SLOT_STATE_TYPE);
      }
    } else {
      const mark = (<u64>1) << <u64>(hash & 63);
      if (seen & mark && hasKey(keysBase, keysTop, address, length)) return malformed(thread, at);
      seen |= mark;
      store<u64>(keysTop, name);
      keysTop += 8;
      at = scanMember(thread, valueAt, end, depth, keysTop);
      if (at === 0) return 0;
    }
  }
  store<u32>(thread, <u32>keysTop, THREAD_KEY_TOP);
  store<u32>(thread, <u32>kindAt, THREAD_KIND_AT);
  return leaveMap(thread, keysBase) ? at : malformed(thread, at);
}

// @ts-expect-error: decorator
@inline
function isEmptyTargetingKey(state: usize, name: usize): bool {
  return (
    load<u32>(state, SLOT_STATE_LENGTH) === 0 &&
    load<u32>(state, SLOT_STATE_TYPE) === VALUE_STRING &&
    equalBytes(name, TARGETING_KEY, TARGETING_KEY_BYTES)
  );
}

/** The short form's user id is the targeting key of a context of one kind; a multi context has none of its own. */
export function setTargetingKey(thread: usize, valueAt: usize): void {
  if (load<u32>(thread, THREAD_MULTI) !== 0) return;
  const root = <usize>load<u32>(thread, THREAD_ROOT);
  const kind = load<u64>(<usize>load<u32>(thread, THREAD_KINDS));
  const kindSlot = findSlot(root, NONE, textAddress(kind), textBytes(kind));
  if (kindSlot === NONE) return;
  const slot = findSlot(root, kindSlot, TARGETING_KEY, TARGETING_KEY_BYTES);
  if (slot === NONE) return;
  const state = <usize>load<u32>(thread, THREAD_SLOT_STATES) + <usize>slot * SLOT_STATE_BYTES;
  store<u32>(state, load<u32>(thread, THREAD_STAMP), SLOT_STATE_STAMP);
  decodeValue(state, valueAt);
  weighValue(thread, state);
  if (isEmptyTargetingKey(state, TARGETING_KEY)) store<u32>(state, <u32>VALUE_MISSING, SLOT_STATE_TYPE);
}
