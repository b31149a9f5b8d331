import { bucketOf, hashText } from '@guidon/engine';
import { hashPrefixOf, murmur3 } from '@guidon/engine/compile/murmur3.js';
import { nameHash } from '@guidon/engine/compile/name-hash.js';
import { describe, expect, it } from 'vitest';

const encoder = new TextEncoder();
const TEXTS = ['', 'a', 'ab', 'abc', 'abcd', 'abcde', 'salt.user-1', 'ключ', '🌍', 'x'.repeat(1_000)];

describe('murmur3()', () => {
  it.each(TEXTS)('agrees with the reference on %j', (text) => {
    expect(murmur3(encoder.encode(text))).toBe(hashText(text));
  });

  it.each([
    ['salt.user-1', 67_197],
    ['salt.42', 19_955],
    ['salt.ключ', 33_134],
    ['layer:l1.user-1', 80_560],
  ])('%s falls into the bucket of the flag model', (text, bucket) => {
    expect(Math.floor((murmur3(encoder.encode(text)) * 100_000) / 2 ** 32)).toBe(bucket);
  });

  it('hashes a part of a buffer', () => {
    expect(murmur3(encoder.encode('..user-1..'), 2, 8)).toBe(hashText('user-1'));
  });
});

describe('hashPrefixOf()', () => {
  it.each(TEXTS)('remembers the words and the rest of %j', (text) => {
    const { tail, tailBytes, length } = hashPrefixOf(text);
    const bytes = encoder.encode(text);
    expect(length).toBe(bytes.length);
    expect(tailBytes).toBe(bytes.length % 4);
    expect(Buffer.from(Uint32Array.of(tail).buffer).subarray(0, tailBytes)).toEqual(
      Buffer.from(bytes.slice(bytes.length - tailBytes)),
    );
  });

  it('stands for the salt of a bucket', () => {
    // Without a tail the state after the prefix is the state after its words, so hashing on is hashing the whole.
    expect(bucketOf('abc', 'user-1')).toBe(Math.floor((hashText('abc.user-1') * 100_000) / 2 ** 32));
    expect(hashPrefixOf('abc.').tailBytes).toBe(0);
  });
});

describe('nameHash()', () => {
  it('is unsigned, fixed and differs for names that differ', () => {
    const names = [
      '',
      'a',
      'b',
      'ab',
      'abcdefg',
      'abcdefgh',
      'abcdefgi',
      'targetingKey',
      'appVersion',
      'x'.repeat(100),
      'ключ',
      'a\0',
      'a\0\0',
    ];
    const hashes = names.map((name) => nameHash(encoder.encode(name)));
    expect(new Set(hashes).size).toBe(names.length);
    for (const hash of hashes) expect(hash).toBe(hash >>> 0);
    // The kernel computes the same from the request; the vectors would fail if it did not.
    expect(nameHash(encoder.encode('targetingKey'))).toBe(nameHash(encoder.encode('targetingKey')));
  });

  it('spreads over the low bits, which pick the place in a table', () => {
    const places = new Set(
      Array.from({ length: 1_000 }, (_, index) => nameHash(encoder.encode(`attribute-${index}`)) & 1023),
    );
    expect(places.size).toBeGreaterThan(560); // 647 are expected of a random function
  });
});
