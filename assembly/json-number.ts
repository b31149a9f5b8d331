import { jsonFault } from "./json-fault";
import { position } from "./json-text";
import { JSON_FAULT_SYNTAX } from "./layout";

/**
 * Numbers of a JSON request as msgpack, with the value that JSON.parse gives them: the double nearest to what is written. Exact without
 * help are whole numbers of up to 19 digits (one conversion, which rounds to nearest) and `m x 10^e` with m <= 2^53 and |e| <= 22: m
 * and 10^|e| are doubles then, so that one division or multiplication rounds once. The host is asked for the others.
 */
// @ts-expect-error: decorator
@external("guidon", "parseNumber")
declare function parseNumber(at: usize, byteCount: usize): f64;

const MINUS: u32 = 0x2d;
const PLUS: u32 = 0x2b;
const DOT: u32 = 0x2e;
const SMALL_E: u32 = 0x65;
/** So many digits always fit a u64. */
const DIGITS_MAX: u32 = 19;
const SAFE_MAX: u64 = 9007199254740991;
const EXACT_MAX: u64 = 9007199254740992;
const EXACT_POWER_MAX: i32 = 22;
/** More than any text of a request has digits, so that no fraction brings a capped exponent back. */
const EXPONENT_MAX: i32 = 100_000_000;

const POWERS: usize = memory.data<f64>([
  1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
  1e21, 1e22,
]);

// @ts-expect-error: decorator
@inline
function digitAt(at: usize): u32 {
  return <u32>load<u8>(at) - 0x30;
}

/** `at` is at a minus or a digit. */
export function transcodeNumber(thread: usize, start: usize, to: usize): u64 {
  const isNegative = <u32>load<u8>(start) === MINUS;
  let at = start + <usize>isNegative;
  const first = at;
  let digit = digitAt(at);
  if (digit > 9) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
  let mantissa = <u64>digit;
  ++at;
  // After a leading zero there is no digit.
  if (mantissa !== 0) {
    for (digit = digitAt(at); digit <= 9; digit = digitAt(++at)) mantissa = mantissa * 10 + <u64>digit;
  }
  const next = <u32>load<u8>(at);
  if (next === DOT || (next | 0x20) === SMALL_E) return transcodeFraction(thread, start, first, at, to, mantissa);
  if (at - first > <usize>DIGITS_MAX) return position(at, writeDouble(to, parseNumber(start, at - start)));
  return position(at, writeWhole(to, mantissa, isNegative));
}

/** `at` is behind the digits in front of a dot or an exponent; `mantissa` is what they say. */
function transcodeFraction(thread: usize, start: usize, first: usize, at: usize, to: usize, mantissa: u64): u64 {
  // Zeros in front of the first other digit do not count.
  let digitCount: u32 = digitAt(first) === 0 ? 0 : <u32>(at - first);
  let exponent: i32 = 0;
  if (<u32>load<u8>(at) === DOT) {
    const fraction = ++at;
    for (let digit = digitAt(at); digit <= 9; digit = digitAt(++at)) {
      mantissa = mantissa * 10 + <u64>digit;
      digitCount += <u32>(digitCount !== 0 || digit !== 0);
    }
    if (at === fraction) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
    exponent = -<i32>(at - fraction);
  }
  if ((<u32>load<u8>(at) | 0x20) === SMALL_E) {
    const sign = <u32>load<u8>(++at);
    if (sign === MINUS || sign === PLUS) ++at;
    const digits = at;
    let written: i32 = 0;
    for (let digit = digitAt(at); digit <= 9; digit = digitAt(++at)) {
      if (written < EXPONENT_MAX) written = written * 10 + <i32>digit;
    }
    if (at === digits) return jsonFault(thread, at, JSON_FAULT_SYNTAX);
    exponent += sign === MINUS ? -written : written;
  }
  const isExact = digitCount <= DIGITS_MAX && mantissa <= EXACT_MAX && abs<i32>(exponent) <= EXACT_POWER_MAX;
  if (digitCount !== 0 && !isExact) return position(at, writeDouble(to, parseNumber(start, at - start)));
  let value = <f64>mantissa;
  if (digitCount === 0) value = 0;
  else if (exponent < 0) value /= load<f64>(POWERS + (<usize>-exponent << 3));
  else value *= load<f64>(POWERS + (<usize>exponent << 3));
  return position(at, writeDouble(to, start === first ? value : -value));
}

/** A zero has no sign in a request. */
// @ts-expect-error: decorator
@inline
function writeDouble(to: usize, value: f64): usize {
  store<u8>(to, 0xcb);
  store<u64>(to, bswap<u64>(reinterpret<u64>(value + 0.0)), 1);
  return to + 9;
}

function writeWhole(to: usize, value: u64, isNegative: bool): usize {
  if (value > SAFE_MAX) return writeDouble(to, isNegative ? -<f64>value : <f64>value);
  if (isNegative && value !== 0) {
    store<u8>(to, 0xd3);
    store<u64>(to, bswap<u64>(-<i64>value), 1);
    return value <= 32 ? writeByte(to, 256 - <u32>value) : to + 9;
  }
  if (value < 0x80) return writeByte(to, <u32>value);
  if (value <= 0xff) {
    store<u8>(to, 0xcc);
    store<u8>(to, value, 1);
    return to + 2;
  }
  if (value <= 0xffff) {
    store<u8>(to, 0xcd);
    store<u16>(to, bswap<u16>(<u16>value), 1);
    return to + 3;
  }
  if (value <= 0xffffffff) {
    store<u8>(to, 0xce);
    store<u32>(to, bswap<u32>(<u32>value), 1);
    return to + 5;
  }
  store<u8>(to, 0xcf);
  store<u64>(to, bswap<u64>(value), 1);
  return to + 9;
}

// @ts-expect-error: decorator
@inline
function writeByte(to: usize, byte: u32): usize {
  store<u8>(to, byte);
  return to + 1;
}
