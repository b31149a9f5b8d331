/** Two decimal digits, or a number above 99. */
// @ts-expect-error: decorator
@inline
function twoDigits(at: usize): u32 {
  const tens = <u32>load<u8>(at) - 0x30;
  const ones = <u32>load<u8>(at, 1) - 0x30;
  return tens > 9 || ones > 9 ? 1000 : tens * 10 + ones;
}

// @ts-expect-error: decorator
@inline
function isByte(at: usize, byte: u32): bool {
  return <u32>load<u8>(at) === byte;
}

function daysInMonth(year: u32, month: u32): u32 {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}

/** Days from 1970-01-01, proleptic Gregorian; years are counted from March so that the leap day comes last. */
function daysSinceEpoch(year: i64, month: i64, day: i64): i64 {
  // 400 years more keep the divisions away from negative numbers: year 0 in January counts as March-year -1.
  const marchYear = (month > 2 ? year : year - 1) + 400;
  const dayOfYear = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
  return marchYear * 365 + marchYear / 4 - marchYear / 100 + marchYear / 400 + dayOfYear - 719_468 - 146_097;
}

/** Epoch ms of `YYYY-MM-DD(T|t)hh:mm:ss[.digits](Z|z|±hh:mm)`, NaN for anything else. A fraction is cut after its third digit. */
export function dateTimeMs(at: usize, byteCount: u32): f64 {
  if (byteCount < 20) return NaN;
  const end = at + byteCount;
  const century = twoDigits(at);
  const yearOfCentury = twoDigits(at + 2);
  const month = twoDigits(at + 5);
  const day = twoDigits(at + 8);
  const hour = twoDigits(at + 11);
  const minute = twoDigits(at + 14);
  const second = twoDigits(at + 17);
  if (century > 99 || yearOfCentury > 99 || !isByte(at + 4, 0x2d) || !isByte(at + 7, 0x2d)) return NaN;
  if ((<u32>load<u8>(at, 10) | 0x20) !== 0x74 || !isByte(at + 13, 0x3a) || !isByte(at + 16, 0x3a)) return NaN;
  const year = century * 100 + yearOfCentury;
  if (month < 1 || month > 12 || day < 1 || day > daysInMonth(year, month)) return NaN;
  if (hour > 23 || minute > 59 || second > 59) return NaN;
  at += 19;
  let milliseconds: u32 = 0;
  if (isByte(at, 0x2e)) {
    let digits: u32 = 0;
    let weight: u32 = 100;
    for (++at; at < end && <u32>load<u8>(at) - 0x30 <= 9; ++at) {
      milliseconds += (<u32>load<u8>(at) - 0x30) * weight;
      weight /= 10;
      ++digits;
    }
    if (digits === 0) return NaN;
  }
  let offsetMinutes: i64 = 0;
  if (end - at === 1) {
    if ((<u32>load<u8>(at) | 0x20) !== 0x7a) return NaN;
  } else {
    const sign = <u32>load<u8>(at);
    if (end - at !== 6 || (sign !== 0x2b && sign !== 0x2d) || !isByte(at + 3, 0x3a)) return NaN;
    const offsetHour = twoDigits(at + 1);
    const offsetMinute = twoDigits(at + 4);
    if (offsetHour > 23 || offsetMinute > 59) return NaN;
    offsetMinutes = <i64>(offsetHour * 60 + offsetMinute);
    if (sign === 0x2d) offsetMinutes = -offsetMinutes;
  }
  const minutes = <i64>(hour * 60 + minute) - offsetMinutes;
  return <f64>(daysSinceEpoch(year, month, day) * 86_400_000 + minutes * 60_000 + <i64>(second * 1000 + milliseconds));
}
