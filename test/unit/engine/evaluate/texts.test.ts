import { foldCase, foldCodePoint } from '@guidon/engine/evaluate/case-folding.js';
import { isInBlock, parseCidrBlock, parseIpAddress } from '@guidon/engine/evaluate/cidr.js';
import { parseDateTime } from '@guidon/engine/evaluate/date-time.js';
import { FOLD_DELTA, FOLD_FIRST, FOLD_LAST, FOLD_STRIDE } from '@guidon/engine/evaluate/generated/case-folding.js';
import { compareSemver, parseSemver } from '@guidon/engine/evaluate/semver.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('parseDateTime()', () => {
  it('agrees with the calendar of the platform from year 0 to 9999', () => {
    const range = {
      min: new Date('0000-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    };
    fc.assert(
      fc.property(fc.date(range), (date) => {
        expect(parseDateTime(date.toISOString())).toBe(date.getTime());
      }),
      { numRuns: 2_000 },
    );
  });

  it('knows the last day of every month of leap and common years', () => {
    for (const year of [0, 1, 4, 100, 400, 1900, 2000, 2023, 2024, 9999]) {
      for (let month = 1; month <= 12; month++) {
        const last = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
        const text = (day: number): string =>
          `${String(year).padStart(4, '0')}-${String(month).padStart(2, '0')}-${day}T00:00:00Z`;
        expect(parseDateTime(text(last)), text(last)).toBeDefined();
        expect(parseDateTime(text(last + 1)), text(last + 1)).toBeUndefined();
      }
    }
  });
});

describe('parseSemver()', () => {
  it('takes a text of a hundred thousand digits in linear time', () => {
    const digits = '9'.repeat(100_000);
    expect(parseSemver(digits)).toEqual({ numbers: [digits, '0', '0'], prerelease: [] });
    expect(parseSemver(`${digits}x`)).toBeUndefined();
    expect(parseSemver(`1.0.0-${'a.'.repeat(50_000)}`)).toBeUndefined();
  });

  it('compares like numbers where numbers are small', () => {
    const part = fc.nat(30);
    fc.assert(
      fc.property(fc.tuple(part, part, part), fc.tuple(part, part, part), (a, b) => {
        const [left, right] = [parseSemver(a.join('.')), parseSemver(b.join('.'))];
        const value = ([major, minor, patch]: number[]) => ((major ?? 0) * 100 + (minor ?? 0)) * 100 + (patch ?? 0);
        expect(left && right && Math.sign(compareSemver(left, right))).toBe(Math.sign(value(a) - value(b)));
      }),
    );
  });
});

describe('parseIpAddress() and parseCidrBlock()', () => {
  it('read every spelling of an address as the same bytes', () => {
    const groups = fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 8, maxLength: 8 });
    fc.assert(
      fc.property(groups, fc.nat(7), fc.nat(7), (parts, first, count) => {
        const zeroed = parts.map((part, index) => (index >= first && index < first + count + 1 ? 0 : part));
        const hex = zeroed.map((part) => part.toString(16));
        const short = `${hex.slice(0, first).join(':')}::${hex.slice(first + count + 1).join(':')}`;
        const full = zeroed.map((part) => part.toString(16).padStart(4, '0').toUpperCase()).join(':');
        expect(parseIpAddress(short)).toEqual(parseIpAddress(full));
        expect(parseIpAddress(hex.join(':'))).toEqual(parseIpAddress(full));
        expect(parseIpAddress(full)).toBeDefined();
      }),
    );
  });

  it('hold an address in a block exactly when the leading bits agree', () => {
    const address = fc.integer({ min: 0, max: 0xffffffff });
    const text = (bits: number): string => [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
    fc.assert(
      fc.property(address, address, fc.nat(32), (a, b, bits) => {
        const near =
          bits === 0 ? b : (a & ~((0xffffffff >>> (bits - 1)) >>> 1)) | (b & ((0xffffffff >>> (bits - 1)) >>> 1));
        for (const other of [b, near]) {
          const isSame = bits === 0 || (a ^ other) >>> (32 - bits) === 0;
          const [parsed, block] = [parseIpAddress(text(other)), parseCidrBlock(`${text(a)}/${bits}`)];
          expect(parsed && block && isInBlock(parsed, block)).toBe(isSame);
        }
      }),
    );
  });
});

describe('foldCase()', () => {
  it.each([
    ['HELLO', 'hello'],
    ['ß', 'ß'],
    ['ẞ', 'ß'],
    ['İ', 'İ'],
    ['ı', 'ı'],
    ['ſ', 's'],
    ['\u212a', 'k'],
    ['\u212b', 'å'],
    ['Σςσ', 'σσσ'],
    ['\u{10400}', '\u{10428}'],
    ['Ꭰ', 'Ꭰ'],
    ['ꭰ', 'Ꭰ'],
    ['ᾈ', 'ᾀ'],
    ['ŉ', 'ŉ'],
    ['\u{1e921}', '\u{1e943}'],
    ['漢字 123', '漢字 123'],
  ])('folds %s to %s', (text, folded) => {
    expect(foldCase(text)).toBe(folded);
  });

  it('never folds twice', () => {
    for (let codePoint = 0; codePoint <= 0x10ffff; codePoint++) {
      const folded = foldCodePoint(codePoint);
      if (folded !== codePoint) expect(foldCodePoint(folded)).toBe(folded);
    }
  });

  // The platform's case-insensitive regular expressions use simple case folding too, of whatever Unicode version it has.
  it('agrees with the platform on the Latin, Greek, Cyrillic, Armenian and Georgian letters', () => {
    for (let codePoint = 0; codePoint < 0x1100; codePoint++) {
      const character = String.fromCodePoint(codePoint);
      const folded = String.fromCodePoint(foldCodePoint(codePoint));
      if (folded !== character) expect(new RegExp(`^\\u{${codePoint.toString(16)}}$`, 'iu').test(folded)).toBe(true);
    }
  });

  it('rests on sorted ranges that do not overlap', () => {
    let last = -1;
    for (const [index, first] of FOLD_FIRST.entries()) {
      expect(first).toBeGreaterThan(last);
      last = FOLD_LAST[index] ?? -1;
      expect(last).toBeGreaterThanOrEqual(first);
      expect([1, 2]).toContain(FOLD_STRIDE[index]);
      expect(FOLD_DELTA[index]).not.toBe(0);
    }
    expect([FOLD_LAST.length, FOLD_STRIDE.length, FOLD_DELTA.length]).toEqual(
      Array.from({ length: 3 }, () => FOLD_FIRST.length),
    );
  });
});
