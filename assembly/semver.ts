import {
  DERIVED_SEMVER_KNOWN,
  DERIVED_SEMVER_PACKED,
  SEMVER_BYTES,
  SEMVER_MAJOR,
  SEMVER_PACKED,
  SEMVER_PATCH,
  SEMVER_PRE_RELEASE,
  SLOT_STATE_ADDRESS,
  SLOT_STATE_DERIVED,
  SLOT_STATE_LENGTH,
  SLOT_STATE_NUMBER,
  SLOT_STATE_TYPE,
  THREAD_VERSION,
  VALUE_STRING,
} from "./layout";
import { holdsOutcome } from "./operators-number";

/** `packed` of a version that does not fit, or has a pre-release. */
// @ts-expect-error: decorator
@inline
export const NOT_PACKED: u64 = 0xffffffffffffffff;

/** Does the version compare with one of `count` SEMVER records as one of `outcomes` (OUTCOME) says? */
export function matchesSemver(thread: usize, block: usize, outcomes: u32, versions: usize, count: u32, state: usize): bool {
  if (load<u16>(state, SLOT_STATE_TYPE) !== VALUE_STRING) return false;
  const seen = packedVersion(state);
  const parsed = thread + THREAD_VERSION;
  if (seen === NOT_PACKED) {
    const at = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
    if (!parseVersion(parsed, at, at + load<u32>(state, SLOT_STATE_LENGTH))) return false;
  }
  for (; count > 0; --count) {
    const value = load<u64>(versions, SEMVER_PACKED);
    let order: i32;
    if (seen !== NOT_PACKED && value !== NOT_PACKED) {
      order = seen < value ? -1 : seen === value ? 0 : 1;
    } else {
      if (seen !== NOT_PACKED) {
        const at = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
        parseVersion(parsed, at, at + load<u32>(state, SLOT_STATE_LENGTH));
      }
      order = compareVersions(parsed, versions, block);
    }
    if (holdsOutcome<i32>(outcomes, order, 0)) return true;
    versions += SEMVER_BYTES;
  }
  return false;
}

/** Plain `N[.N[.N]]` below 2^21 each in one word, remembered with the attribute for this context; NOT_PACKED for anything else. */
// @ts-expect-error: decorator
@inline
export function packedVersion(state: usize): u64 {
  const derived = load<u16>(state, SLOT_STATE_DERIVED);
  if (derived & <u32>DERIVED_SEMVER_KNOWN) {
    return derived & <u32>DERIVED_SEMVER_PACKED ? load<u64>(state, SLOT_STATE_NUMBER) : NOT_PACKED;
  }
  const at = <usize>load<u32>(state, SLOT_STATE_ADDRESS);
  const packed = packVersion(at, at + load<u32>(state, SLOT_STATE_LENGTH));
  const known = <u32>DERIVED_SEMVER_KNOWN | (packed === NOT_PACKED ? 0 : <u32>DERIVED_SEMVER_PACKED);
  store<u16>(state, <u16>(derived | known), SLOT_STATE_DERIVED);
  store<u64>(state, packed, SLOT_STATE_NUMBER);
  return packed;
}

function packVersion(at: usize, end: usize): u64 {
  let packed: u64 = 0;
  let parts: u32 = 0;
  while (true) {
    if (at >= end) return NOT_PACKED;
    let value: u64 = <u64>load<u8>(at) - 0x30;
    if (value > 9) return NOT_PACKED;
    const isZero = value === 0;
    for (++at; at < end; ++at) {
      const digit = <u32>load<u8>(at) - 0x30;
      if (digit > 9) break;
      value = value * 10 + digit;
      if (isZero || value >= 1 << 21) return NOT_PACKED;
    }
    packed = (packed << 21) | value;
    ++parts;
    if (at === end) break;
    if (load<u8>(at) !== 0x2e || parts === 3) return NOT_PACKED;
    ++at;
  }
  return packed << <u64>(21 * (3 - parts));
}

/** Fills a SEMVER record with addresses instead of offsets; false when the text is no version. The build part is only checked. */
function parseVersion(record: usize, at: usize, end: usize): bool {
  memory.fill(record, 0, SEMVER_BYTES);
  let field = record + SEMVER_MAJOR;
  while (true) {
    const start = at;
    while (at < end && <u32>load<u8>(at) - 0x30 <= 9) ++at;
    if (!isPlainNumber(start, at)) return false;
    store<u32>(field, <u32>start);
    store<u32>(field, <u32>(at - start), 4);
    if (at === end || load<u8>(at) !== 0x2e) break;
    field += 8;
    if (field > record + SEMVER_PATCH) return false;
    ++at;
  }
  if (at < end && load<u8>(at) === 0x2d) {
    const start = ++at;
    while (at < end && load<u8>(at) !== 0x2b) ++at;
    if (!areIdentifiers(start, at, true)) return false;
    store<u32>(record, <u32>start, SEMVER_PRE_RELEASE);
    store<u32>(record, <u32>(at - start), SEMVER_PRE_RELEASE + 4);
  }
  if (at === end) return true;
  return load<u8>(at) === 0x2b && areIdentifiers(at + 1, end, false);
}

/** Digits without a leading zero. */
// @ts-expect-error: decorator
@inline
function isPlainNumber(start: usize, end: usize): bool {
  return end > start && (load<u8>(start) !== 0x30 || end - start === 1);
}

/** Identifiers between dots, none empty; in a pre-release those of digits alone have no leading zero. */
function areIdentifiers(at: usize, end: usize, isPreRelease: bool): bool {
  while (true) {
    const start = at;
    let isNumber = true;
    for (; at < end; ++at) {
      const byte = <u32>load<u8>(at);
      if (byte === 0x2e) break;
      if (byte - 0x30 <= 9) continue;
      if ((byte | 0x20) - 0x61 > 25 && byte !== 0x2d) return false;
      isNumber = false;
    }
    if (at === start || (isPreRelease && isNumber && !isPlainNumber(start, at))) return false;
    if (at === end) return true;
    ++at;
  }
}

/** Precedence of SemVer 2 section 11: `a` holds addresses, `b` offsets into `block`. */
function compareVersions(a: usize, b: usize, block: usize): i32 {
  for (let field = SEMVER_MAJOR; field <= SEMVER_PATCH; field += 8) {
    const order = compareNumbers(
      load<u32>(a + field),
      load<u32>(a + field, 4),
      block + load<u32>(b + field),
      load<u32>(b + field, 4),
    );
    if (order !== 0) return order;
  }
  const bytesA = load<u32>(a, SEMVER_PRE_RELEASE + 4);
  const bytesB = load<u32>(b, SEMVER_PRE_RELEASE + 4);
  // A release comes after its pre-releases.
  if (bytesA === 0 || bytesB === 0) return bytesA === bytesB ? 0 : bytesA === 0 ? 1 : -1;
  return comparePreReleases(load<u32>(a, SEMVER_PRE_RELEASE), bytesA, block + load<u32>(b, SEMVER_PRE_RELEASE), bytesB);
}

/** Without leading zeros the longer number is the greater one; a missing part is 0. */
function compareNumbers(a: usize, bytesA: u32, b: usize, bytesB: u32): i32 {
  const isZeroA = bytesA === 0 || load<u8>(a) === 0x30;
  const isZeroB = bytesB === 0 || load<u8>(b) === 0x30;
  if (isZeroA || isZeroB) return <i32>isZeroB - <i32>isZeroA;
  if (bytesA !== bytesB) return bytesA < bytesB ? -1 : 1;
  return compareAscii(a, bytesA, b, bytesB);
}

function compareAscii(a: usize, bytesA: u32, b: usize, bytesB: u32): i32 {
  const shorter = bytesA < bytesB ? bytesA : bytesB;
  for (let index: u32 = 0; index < shorter; ++index) {
    const difference = <i32>load<u8>(a + index) - <i32>load<u8>(b + index);
    if (difference !== 0) return difference;
  }
  return <i32>bytesA - <i32>bytesB;
}

function comparePreReleases(a: usize, bytesA: u32, b: usize, bytesB: u32): i32 {
  const endA = a + bytesA;
  const endB = b + bytesB;
  while (true) {
    const dotA = findDot(a, endA);
    const dotB = findDot(b, endB);
    const order = compareIdentifiers(a, dotA, b, dotB);
    if (order !== 0) return order;
    if (dotA === endA || dotB === endB) return <i32>(dotA !== endA) - <i32>(dotB !== endB);
    a = dotA + 1;
    b = dotB + 1;
  }
}

function findDot(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) !== 0x2e) ++at;
  return at;
}

function isNumeric(at: usize, end: usize): bool {
  for (; at < end; ++at) {
    if (<u32>load<u8>(at) - 0x30 > 9) return false;
  }
  return true;
}

/** Numbers by value and before words, words by ASCII. */
function compareIdentifiers(a: usize, endA: usize, b: usize, endB: usize): i32 {
  const isNumberA = isNumeric(a, endA);
  const isNumberB = isNumeric(b, endB);
  if (isNumberA !== isNumberB) return isNumberA ? -1 : 1;
  const bytesA = <u32>(endA - a);
  const bytesB = <u32>(endB - b);
  return isNumberA ? compareNumbers(a, bytesA, b, bytesB) : compareAscii(a, bytesA, b, bytesB);
}
