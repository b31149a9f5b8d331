import { findCredential, generateCredential, hashSecret, isSecretOf } from '@guidon/protocol/signed-config';
import { describe, expect, it } from 'vitest';

describe('findCredential()', () => {
  it('reads back what generateCredential() made, whatever the secret holds', () => {
    for (let count = 0; count < 2_000; count += 1) {
      const made = generateCredential('srv');
      expect(findCredential(made.token)).toEqual({ kind: 'srv', credentialId: made.credentialId, secret: made.secret });
    }
  });

  it('refuses every single-character change and every cut', () => {
    const { token } = generateCredential('web');
    for (let index = 0; index < token.length; index += 1) {
      const changed = `${token.slice(0, index)}${token[index] === 'x' ? 'y' : 'x'}${token.slice(index + 1)}`;
      expect(findCredential(changed), changed).toBeUndefined();
      expect(findCredential(token.slice(0, index))).toBeUndefined();
    }
    expect(findCredential(`${token} `)).toBeUndefined();
  });

  it.each(['', 'gdn_', 'gdn_srv_', 'gdn_root_x', 'Bearer', `gdn_srv_${'A'.repeat(72)}`, `gdn_srv_${'é'.repeat(72)}`])(
    'refuses %j',
    (token) => expect(findCredential(token)).toBeUndefined(),
  );
});

describe('isSecretOf()', () => {
  it('holds for the hashed secret alone, and never for a hash of another length', () => {
    expect(isSecretOf('secret', hashSecret('secret'))).toBe(true);
    expect(isSecretOf('secres', hashSecret('secret'))).toBe(false);
    expect(isSecretOf('secret', '')).toBe(false);
  });
});
