import { FOLD_DELTA, FOLD_FIRST, FOLD_LAST, FOLD_STRIDE } from './generated/case-folding.js';

/** Simple case folding (one code point to one code point) of Unicode 16.0. No locale: `I` folds to `i`, `İ` to itself. */
export function foldCase(text: string): string {
  let folded = '';
  for (const character of text) {
    const codePoint = character.codePointAt(0) ?? 0;
    folded += String.fromCodePoint(foldCodePoint(codePoint));
  }
  return folded;
}

export function foldCodePoint(codePoint: number): number {
  let low = 0;
  let high = FOLD_FIRST.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((FOLD_FIRST[middle] ?? 0) <= codePoint) low = middle + 1;
    else high = middle;
  }
  const range = low - 1;
  if (range < 0 || codePoint > (FOLD_LAST[range] ?? 0)) return codePoint;
  const isMember = (codePoint - (FOLD_FIRST[range] ?? 0)) % (FOLD_STRIDE[range] ?? 1) === 0;
  return isMember ? codePoint + (FOLD_DELTA[range] ?? 0) : codePoint;
}
