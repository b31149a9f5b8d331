import { raiseWeight, weighText, weighValue } from "./admission";
import { equalBytes } from "./bytes";
import { findSlot } from "./find-slot";
import { isLargeInJson } from "./json-request";
import {
  CALL_OPTION_JSON_REQUEST,
  CONTEXT_ATTRIBUTES_MAX,
  CONTEXT_BYTES_MAX,
  CONTEXT_DEPTH_MAX,
  CONTEXT_STATE_INVALID,
  CONTEXT_STATE_OVER_LIMIT,
  CONTEXT_STATE_VALID,
  MSGPACK_KINDS_MAX,
  NONE,
  ROOT_USER_KIND,
  SLOT_STATE_BYTES,
  SLOT_STATE_LENGTH,
  SLOT_STATE_STAMP,
  THREAD_CONTEXT_STATE,
  THREAD_DEPTH_MAX,
  THREAD_ELEMENT,
  THREAD_KIND_AT,
  THREAD_KIND_COUNT,
  THREAD_KINDS,
  THREAD_MEMBERS,
  THREAD_MULTI,
  THREAD_OPTIONS,
  THREAD_ROOT,
  THREAD_SLOT_STATES,
  THREAD_STAMP,
  THREAD_WEIGHT,
} from "./layout";
import { dropEmptyTargetingKey, indexMembers, TARGETING_KEY, TARGETING_KEY_BYTES } from "./member-index";
import { enterMap, malformed, readText, scanValue, textAddress, textBytes } from "./msgpack-scan";
import { isKindName } from "./shape";
import { decodeValue } from "./value";

const USER: usize = memory.data<u8>([0x75, 0x73, 0x65, 0x72]);
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
  if (isOverLimit(thread, at, next, depth)) {
    store<u32>(thread, <u32>CONTEXT_STATE_OVER_LIMIT, THREAD_CONTEXT_STATE);
  } else if (!isObject || !indexKind(thread, at, end, depth)) {
    store<u32>(thread, <u32>CONTEXT_STATE_INVALID, THREAD_CONTEXT_STATE);
  }
  return next;
}

// @ts-expect-error: decorator
@inline
function isOverLimit(thread: usize, at: usize, next: usize, depth: u32): bool {
  return (
    isTooLong(thread, at, next) ||
    load<u32>(thread, THREAD_MEMBERS) > CONTEXT_ATTRIBUTES_MAX ||
    load<u32>(thread, THREAD_DEPTH_MAX) >= depth + CONTEXT_DEPTH_MAX
  );
}

/** Bytes count as they were received. */
// @ts-expect-error: decorator
@inline
function isTooLong(thread: usize, at: usize, next: usize): bool {
  const isJson = (load<u32>(thread, THREAD_OPTIONS) & <u32>CALL_OPTION_JSON_REQUEST) !== 0;
  return isJson ? isLargeInJson(thread, at) : next - at > CONTEXT_BYTES_MAX;
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

/** Bytes of the header of a map that starts with `first`. */
// @ts-expect-error: decorator
@inline
export function mapHeaderBytes(first: u32): usize {
  return first === 0xde ? 3 : first === 0xdf ? 5 : 1;
}

/** Members of the map at `at`, which starts with `first` and has its header. */
// @ts-expect-error: decorator
@inline
export function mapCount(at: usize, first: u32): usize {
  if (first < 0xde) return first & 0x0f;
  return first === 0xde ? <usize>bswap<u16>(load<u16>(at, 1)) : <usize>bswap<u32>(load<u32>(at, 1));
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
  if (end - at < mapHeaderBytes(first)) return malformed(thread, at);
  const count = mapCount(at, first);
  const start = at + mapHeaderBytes(first);
  if (!enterMap(thread, start, end, count, depth)) return malformed(thread, at);
  return indexMembers(thread, start, end, count, depth, kindSlot);
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
  dropEmptyTargetingKey(state, TARGETING_KEY, TARGETING_KEY_BYTES);
}
