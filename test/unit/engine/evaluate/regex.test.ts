import { compilePattern, cutRegexInput } from '@guidon/engine';
import { PatternCache } from '@guidon/engine/evaluate/regex.js';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';

describe('cutRegexInput()', () => {
  it('keeps the longest prefix of whole code points of at most 1024 bytes', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 1_500, size: 'max' }), (text) => {
        const { input, byteCount } = cutRegexInput(text);
        expect(byteCount).toBe(Buffer.byteLength(input));
        expect(byteCount).toBeLessThanOrEqual(1_024);
        expect(text.startsWith(input)).toBe(true);
        const next = String.fromCodePoint(...[text.codePointAt(input.length)].filter((point) => point !== undefined));
        expect(next === '' || byteCount + Buffer.byteLength(next) > 1_024).toBe(true);
      }),
    );
  });
});

describe('compilePattern()', () => {
  // G15: catastrophic for a backtracking engine; here the time does not depend on luck, the test only has to end.
  it.each([
    ['(a+)+$', false],
    ['^(a|a)*$', false],
    ['^(a|aa)+$', false],
    ['(.*)*x', false],
    ['^(([a-z])+.)+[A-Z]([a-z])+$', false],
    ['(a|a)*$', true],
  ])('searches %s in linear time', (pattern, isFound) => {
    expect(compilePattern(pattern)?.find(`${'a'.repeat(1_023)}!`)).toBe(isFound);
  });

  it('matches code points, not UTF-16 units', () => {
    expect(compilePattern('^.$')?.find('🌍')).toBe(true);
    expect(compilePattern('^[🌍🌎]$')?.find('🌎')).toBe(true);
    expect(compilePattern('^..$')?.find('🌍')).toBe(false);
  });

  it('keeps no state between searches', () => {
    const pattern = compilePattern('b');
    expect([pattern?.find('ab'), pattern?.find('ab'), pattern?.find('a'), pattern?.find('b')]).toEqual([
      true,
      true,
      false,
      true,
    ]);
  });
});

describe('PatternCache', () => {
  it('compiles a pattern once, and again when many others came between', () => {
    const cache = new PatternCache();
    const first = cache.find('a0');
    expect(cache.find('a0')).toBe(first);
    for (let index = 1; index <= 1_000; index++) cache.find(`a${index}`);
    expect(cache.find('a1000')).toBe(cache.find('a1000'));
    expect(cache.find('a0')).not.toBe(first);
    expect(cache.find('a0')?.find('xa0')).toBe(true);
    expect(cache.find('(')).toBeUndefined();
  });
});
