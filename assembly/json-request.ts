import { jsonFault } from "./json-fault";
import { transcodeNumber } from "./json-number";
import { position, QUOTE, transcodeText } from "./json-text";
import {
  CONTEXT_BYTES_MAX,
  JSON_FAULT_DEPTH,
  JSON_FAULT_MEMBERS,
  JSON_FAULT_READER,
  JSON_FAULT_SYNTAX,
  MSGPACK_DEPTH_MAX,
  MSGPACK_MEMBERS_MAX,
  THREAD_END,
  THREAD_ERROR_OFFSET,
  THREAD_JSON_FAULT,
  THREAD_JSON_LARGE,
  THREAD_JSON_LARGE_COUNT,
  THREAD_JSON_MSGPACK,
  THREAD_JSON_STOP,
  THREAD_REQUEST,
} from "./layout";

/**
 * Writes a JSON request (RFC 8259, nothing beyond it) as the msgpack that the kernel reads, into a region of the thread. The bytes are
 * walked once. Zeros stand behind the body, which no token may hold: nothing needs to ask whether there is a next byte. Neither does
 * anything ask for room, because n bytes of JSON become at most JSON_GROWTH x n + 8 of msgpack (thread-regions.ts derives it).
 *
 * Left to the reader of the msgpack, which goes over every string and name anyway: UTF-8, names that stand twice in one object.
 */
const COMMA: u32 = 0x2c;
const COLON: u32 = 0x3a;
const MINUS: u32 = 0x2d;
const OPEN_BRACKET: u32 = 0x5b;
const CLOSE_BRACKET: u32 = 0x5d;
const OPEN_BRACE: u32 = 0x7b;
const CLOSE_BRACE: u32 = 0x7d;
/** Little-endian words. */
const TRUE: u32 = 0x65757274;
const FALS: u32 = 0x736c6166;
const NULL: u32 = 0x6c6c756e;
const SMALL_E: u32 = 0x65;
const NOWHERE: u32 = 0xffffffff;
/** A context is a member of the body (2), an element of a member (3) or a member of such an element (4). */
const CONTEXT_AT_DEPTH_MIN: u32 = 2;
const CONTEXT_AT_DEPTH_MAX: u32 = 4;

/** Where the JSON goes on, and where the msgpack. */
// @ts-expect-error: decorator
@inline
function sourceOf(next: u64): usize {
  return <usize>(next >> 32);
}

// @ts-expect-error: decorator
@inline
function targetOf(next: u64): usize {
  return <usize>(next & 0xffffffff);
}

/** Address after the msgpack of the request, which ends at `end`; 0 = malformed. The region has bytes to spare behind `end`. */
export function transcodeRequest(thread: usize, end: usize): usize {
  store<u32>(thread, <u32>end, THREAD_END);
  store<u32>(thread, NOWHERE, THREAD_JSON_STOP);
  return transcodeBody(thread, end);
}

function transcodeBody(thread: usize, end: usize): usize {
  store<u32>(thread, 0, THREAD_JSON_LARGE_COUNT);
  v128.store(end, i64x2.splat(0));
  const at = skipBlanks(<usize>load<u32>(thread, THREAD_REQUEST));
  const next = transcodeValue(thread, at, <usize>load<u32>(thread, THREAD_JSON_MSGPACK), 1);
  if (next === 0) return 0;
  const rest = skipBlanks(sourceOf(next));
  return rest === end ? targetOf(next) : <usize>jsonFault(thread, rest, JSON_FAULT_SYNTAX);
}

/**
 * The reader refused the msgpack at THREAD_ERROR_OFFSET: puts the offset of what became of it in the JSON there, by writing the same
 * again up to that place.
 */
export function locateInJson(thread: usize, end: usize): void {
  const stop = load<u32>(thread, THREAD_JSON_MSGPACK) + load<u32>(thread, THREAD_ERROR_OFFSET);
  store<u32>(thread, <u32>end, THREAD_END);
  store<u32>(thread, stop, THREAD_JSON_STOP);
  if (transcodeBody(thread, end) !== 0) jsonFault(thread, end, JSON_FAULT_READER);
  store<u32>(thread, <u32>JSON_FAULT_READER, THREAD_JSON_FAULT);
}

/** Is the value at `at` of the msgpack longer in JSON than a context may be? */
export function isLargeInJson(thread: usize, at: usize): bool {
  const large = <usize>load<u32>(thread, THREAD_JSON_LARGE);
  const count = <usize>load<u32>(thread, THREAD_JSON_LARGE_COUNT);
  for (let entry = large; entry < large + (count << 2); entry += 4) {
    if (load<u32>(entry) === <u32>at) return true;
  }
  return false;
}

/** Values at one depth do not overlap, so there are no more of them than the body is times as long as a context may be. */
function noteLarge(thread: usize, to: usize, depth: u32): void {
  if (depth < CONTEXT_AT_DEPTH_MIN || depth > CONTEXT_AT_DEPTH_MAX) return;
  const count = load<u32>(thread, THREAD_JSON_LARGE_COUNT);
  store<u32>(<usize>load<u32>(thread, THREAD_JSON_LARGE) + (<usize>count << 2), <u32>to);
  store<u32>(thread, count + 1, THREAD_JSON_LARGE_COUNT);
}

// @ts-expect-error: decorator
@inline
function skipBlanks(at: usize): usize {
  return <u32>load<u8>(at) > 0x20 ? at : skipManyBlanks(at);
}

function skipManyBlanks(at: usize): usize {
  while (true) {
    const byte = <u32>load<u8>(at);
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return at;
    ++at;
  }
}

/** `depth` is that of the value if it is a container: the body is 1. */
function transcodeValue(thread: usize, at: usize, to: usize, depth: u32): u64 {
  if (<u32>to >= load<u32>(thread, THREAD_JSON_STOP)) return jsonFault(thread, at, JSON_FAULT_READER);
  const first = <u32>load<u8>(at);
  if (first === QUOTE) return transcodeText(thread, at + 1, to);
  if (first - 0x30 < 10 || first === MINUS) return transcodeNumber(thread, at, to);
  if (first === OPEN_BRACE) return transcodeObject(thread, at, to, depth);
  if (first === OPEN_BRACKET) return transcodeArray(thread, at, to, depth);
  const word = load<u32>(at);
  if (word === TRUE) return constant(at + 4, to, 0xc3);
  if (word === NULL) return constant(at + 4, to, 0xc0);
  if (word === FALS && <u32>load<u8>(at, 4) === SMALL_E) return constant(at + 5, to, 0xc2);
  return jsonFault(thread, at, JSON_FAULT_SYNTAX);
}

// @ts-expect-error: decorator
@inline
function constant(at: usize, to: usize, byte: u32): u64 {
  store<u8>(to, byte);
  return position(at, to + 1);
}

/** The number of members is known at the end: their header has room for the most that there may be. */
function transcodeObject(thread: usize, start: usize, header: usize, depth: u32): u64 {
  if (depth > MSGPACK_DEPTH_MAX) return jsonFault(thread, start, JSON_FAULT_DEPTH);
  let to = header + 3;
  let count: u32 = 0;
  let at = skipBlanks(start + 1);
  if (<u32>load<u8>(at) !== CLOSE_BRACE) {
    while (true) {
      if (<u32>load<u8>(at) !== QUOTE) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
      if (<u32>to >= load<u32>(thread, THREAD_JSON_STOP)) return jsonFault(thread, at, JSON_FAULT_READER);
      const name = transcodeText(thread, at + 1, to);
      if (name === 0) return 0;
      at = skipBlanks(sourceOf(name));
      to = targetOf(name);
      if (<u32>load<u8>(at) !== COLON) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
      const valueAt = skipBlanks(at + 1);
      const next = transcodeValue(thread, valueAt, to, depth + 1);
      if (next === 0) return 0;
      at = sourceOf(next);
      if (at - valueAt > CONTEXT_BYTES_MAX) noteLarge(thread, to, depth + 1);
      to = targetOf(next);
      ++count;
      at = skipBlanks(at);
      const byte = <u32>load<u8>(at);
      if (byte === CLOSE_BRACE) break;
      if (byte !== COMMA) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
      at = skipBlanks(at + 1);
    }
  }
  if (count > <u32>MSGPACK_MEMBERS_MAX) return jsonFault(thread, start, JSON_FAULT_MEMBERS);
  store<u8>(header, 0xde);
  store<u16>(header, bswap<u16>(<u16>count), 1);
  return position(at + 1, to);
}

function transcodeArray(thread: usize, start: usize, header: usize, depth: u32): u64 {
  if (depth > MSGPACK_DEPTH_MAX) return jsonFault(thread, start, JSON_FAULT_DEPTH);
  let to = header + 5;
  let count: u32 = 0;
  let at = skipBlanks(start + 1);
  if (<u32>load<u8>(at) !== CLOSE_BRACKET) {
    while (true) {
      const valueAt = at;
      const next = transcodeValue(thread, valueAt, to, depth + 1);
      if (next === 0) return 0;
      at = sourceOf(next);
      if (at - valueAt > CONTEXT_BYTES_MAX) noteLarge(thread, to, depth + 1);
      to = targetOf(next);
      ++count;
      at = skipBlanks(at);
      const byte = <u32>load<u8>(at);
      if (byte === CLOSE_BRACKET) break;
      if (byte !== COMMA) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
      at = skipBlanks(at + 1);
    }
  }
  store<u8>(header, 0xdd);
  store<u32>(header, bswap<u32>(count), 1);
  return position(at + 1, to);
}
