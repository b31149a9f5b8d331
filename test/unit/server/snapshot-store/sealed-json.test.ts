import { openJson, sealJson } from '@guidon/server/snapshot-store/sealed-json.js';
import { describe, expect, it } from 'vitest';

describe('openJson()', () => {
  const value = { epoch: 1, revision: 41, digest: 'é漢🌍' };

  it('returns what sealJson() was given', () => {
    expect(openJson(sealJson(value))).toEqual(value);
  });

  it('refuses every flipped bit and every cut (M5)', () => {
    const sealed = sealJson(value);
    for (let index = 0; index < sealed.length; index += 1) {
      for (let bit = 0; bit < 8; bit += 1) {
        const flipped = Uint8Array.from(sealed);
        flipped[index] = (flipped[index] ?? 0) ^ (1 << bit);
        expect(openJson(flipped)).toBeUndefined();
      }
      expect(openJson(sealed.subarray(0, index))).toBeUndefined();
    }
  });
});
