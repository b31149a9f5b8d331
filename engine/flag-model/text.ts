/** Strings of the flag model are Unicode scalar values. These are the few things that JavaScript's UTF-16 strings do not give. */

/** With the `u` flag only a surrogate without its partner matches. */
const LONE_SURROGATE = /\p{Cs}/u;
const LONE_SURROGATES = /\p{Cs}/gu;

export function isScalarText(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

/** Each lone surrogate becomes U+FFFD, as a strict UTF-8 encoder writes it. */
export function toScalarText(text: string): string {
  return LONE_SURROGATE.test(text) ? text.replace(LONE_SURROGATES, '\ufffd') : text;
}

/** UTF-8 bytes of `text`; a lone surrogate counts as U+FFFD. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let index = 0; index < text.length; index++) {
    const unit = text.charCodeAt(index);
    if (unit < 0x80) continue;
    if (unit < 0x800) bytes += 1;
    else if (isPairAt(text, index)) {
      bytes += 2;
      index++;
    } else bytes += 2;
  }
  return bytes;
}

/** Unicode code points of a well-formed text. */
export function codePointCount(text: string): number {
  let count = text.length;
  for (let index = 0; index < text.length; index++) if (isPairAt(text, index)) count--;
  return count;
}

/** Is a whole surrogate pair at `index`? */
export function isPairAt(text: string, index: number): boolean {
  const high = text.charCodeAt(index);
  const low = text.charCodeAt(index + 1);
  return high >= 0xd800 && high <= 0xdbff && low >= 0xdc00 && low <= 0xdfff;
}

/**
 * Orders well-formed strings by their UTF-8 bytes, which is by code point. UTF-16 order differs from it only where one side has a
 * surrogate and the other a unit from U+E000 on, so moving surrogates above those is enough.
 */
export function compareUtf8(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let index = 0; index < length; index++) {
    const unitA = a.charCodeAt(index);
    const unitB = b.charCodeAt(index);
    if (unitA !== unitB) return rankOf(unitA) - rankOf(unitB);
  }
  return a.length - b.length;
}

function rankOf(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}
