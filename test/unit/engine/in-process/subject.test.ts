import { bucketOf } from '@guidon/engine';
import { compareSemver, parseSemver } from '@guidon/engine/evaluate/semver.js';
import { SaltedBucket } from '@guidon/engine/in-process/salted-bucket.js';
import { rankOf, Subject } from '@guidon/engine/in-process/subject.js';
import { describe, expect, it } from 'vitest';

describe('SaltedBucket', () => {
  it('is the bucket of the flag model for every length of salt and text, whatever the subject held before', () => {
    const subject = new Subject();
    for (let saltLength = 1; saltLength <= 9; saltLength++) {
      const salt = 'salt-4711'.slice(0, saltLength);
      const buckets = new SaltedBucket(salt);
      for (let length = 80; length >= 0; length--) {
        const text = Array.from({ length }, (_, index) => String.fromCharCode(33 + ((index * 7 + length) % 90))).join(
          '',
        );
        subject.set(text);
        expect(buckets.of(subject, text), `${salt} ${length}`).toBe(bucketOf(salt, text));
        expect(new SaltedBucket(`${salt}é`).of(subject, text)).toBe(bucketOf(`${salt}é`, text));
      }
    }
  });

  it.each(['ключ', 'aé', '漢字', '🌍', '\ud800', 'x\udc00y', '\u007f', '\u0080'])(
    'hashes the UTF-8 bytes of %j',
    (text) => {
      const subject = new Subject();
      subject.set(text);
      expect(new SaltedBucket('salt').of(subject, text)).toBe(bucketOf('salt', text));
    },
  );

  it('buckets an integer by its decimals and nothing else', () => {
    const subject = new Subject();
    const textOf = (value: unknown): string | undefined => {
      subject.set(value);
      return subject.bucketedText;
    };
    expect([42, -0, 2 ** 53 - 1, -7].map(textOf)).toEqual(['42', '0', '9007199254740991', '-7']);
    expect([1.5, 2 ** 53, Number.NaN, true, [], {}, undefined].map(textOf)).toEqual(new Array(7).fill(undefined));
  });
});

describe('rankOf()', () => {
  const PARTS = ['0', '1', '9', '10', '99999', '100000', '01', '', 'x', '1a'];
  const TEXTS = [
    ...PARTS,
    ...PARTS.flatMap((a) => PARTS.map((b) => `${a}.${b}`)),
    ...PARTS.flatMap((a) => PARTS.map((b) => `${a}.1.${b}`)),
    '1.2.3.4',
    '1.2.3-a',
    '1.2.3+b',
    '99999.99999.99999',
    ' 1',
    '1 ',
    'v1',
    '-1',
  ];

  it('orders versions as compareSemver() does, and has none for what is no version', () => {
    const ranked = TEXTS.map((text) => ({ text, rank: rankOf(text), version: parseSemver(text) }));
    for (const { text, rank, version } of ranked) {
      if (rank >= 0) expect(version, text).toBeDefined();
    }
    const exact = ranked.flatMap(({ rank, version }) =>
      rank >= 0 && version !== undefined ? [{ rank, version }] : [],
    );
    expect(exact.length).toBeGreaterThan(40);
    for (const a of exact) {
      for (const b of exact) expect(Math.sign(a.rank - b.rank)).toBe(Math.sign(compareSemver(a.version, b.version)));
    }
    expect(rankOf('2.3')).toBe(rankOf('2.3.0'));
    expect(['100000', '1.2.3-a', '1.2.3+b', '', '01'].map((text) => rankOf(text) < 0)).toEqual(new Array(5).fill(true));
  });
});
