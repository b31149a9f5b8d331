import { bucketOf, hashText, murmur3 } from '@guidon/engine';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('murmur3()', () => {
  // From an independent implementation, seed 0.
  it.each([
    ['', 0x00000000],
    ['a', 0x3c2569b2],
    ['ab', 0x9bbfd75f],
    ['abc', 0xb3dd93fa],
    ['abcd', 0x43ed676a],
    ['The quick brown fox jumps over the lazy dog', 0x2e4ff723],
  ])('hashes %j', (text, hash) => {
    expect(murmur3(Buffer.from(text))).toBe(hash);
    expect(hashText(text)).toBe(hash);
  });

  it('reads bytes as unsigned', () => {
    expect(murmur3(new Uint8Array(7).fill(0xff))).toBe(0x011d1da7);
  });

  it('hashText() hashes UTF-8 bytes of any length; a lone surrogate as U+FFFD', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 2_000 }), (text) => {
        expect(hashText(text)).toBe(murmur3(Buffer.from(text)));
      }),
    );
    for (const length of [682, 683, 2_048, 5_000]) {
      expect(hashText('漢'.repeat(length))).toBe(murmur3(Buffer.from('漢'.repeat(length))));
    }
    expect(hashText('\ud800')).toBe(hashText('\ufffd'));
  });
});

describe('bucketOf()', () => {
  it.each([
    ['salt', 'user-1', 67_197],
    ['salt', '42', 19_955],
    ['salt', 'ключ', 33_134],
    ['layer:l1', 'user-1', 80_560],
    ['salt', 'user-71140', 0],
    ['salt', 'user-98095', 99_999],
  ])('puts %s.%s into %i', (salt, value, bucket) => {
    expect(bucketOf(salt, value)).toBe(bucket);
  });

  it('spreads keys evenly: chi-square over 100 cells', () => {
    const cells = Array.from({ length: 100 }, () => 0);
    const keyCount = 100_000;
    for (let index = 0; index < keyCount; index++) {
      const cell = Math.floor(bucketOf('salt', `user-${index}`) / 1_000);
      cells[cell] = (cells[cell] ?? 0) + 1;
    }
    const expected = keyCount / 100;
    const chiSquare = cells.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
    expect(chiSquare).toBeLessThan(148.2); // 99 degrees of freedom, p = 0.001; the keys are fixed, so is the figure
  });
});
