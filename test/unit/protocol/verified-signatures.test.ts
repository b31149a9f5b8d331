import { generateSigningKey, signDocument, VerifiedSignatures } from '@guidon/protocol/signed-config';
import { describe, expect, it } from 'vitest';

describe('VerifiedSignatures', () => {
  it('answers as isSignedBy() however often it is asked, for each key on its own', () => {
    const verified = new VerifiedSignatures(2);
    const [key, other] = [generateSigningKey(), generateSigningKey()];
    const { document, signature } = signDocument(Buffer.from('one document'), key);
    const joined = Buffer.concat([signature, document]);
    const cut = { signature: joined.subarray(0, 60), document: joined.subarray(60) };
    const moved = { signature: joined.subarray(0, 66), document: joined.subarray(66) };
    for (let time = 0; time < 2; time += 1) {
      expect(verified.isSignedBy({ document, signature }, other.publicKey)).toBe(false);
      expect(verified.isSignedBy({ document, signature }, key.publicKey)).toBe(true);
      expect(verified.isSignedBy(cut, key.publicKey)).toBe(false);
      expect(verified.isSignedBy(moved, key.publicKey)).toBe(false);
      expect(verified.isSignedBy({ document: Buffer.from('another one'), signature }, key.publicKey)).toBe(false);
    }
  });
});
