import {
  createHash,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';

/** Bytes as they were signed, never re-serialised, and the Ed25519 signature (64 bytes) over exactly those bytes. */
export interface Signed {
  readonly document: Uint8Array;
  readonly signature: Uint8Array;
}

/** An Ed25519 signing key with the id that documents name it by. */
export interface SigningKey {
  readonly keyId: string;
  readonly privateKey: KeyObject;
  /** Raw 32 bytes, base64url. */
  readonly publicKey: string;
}

export function generateSigningKey(): SigningKey {
  return signingKeyFrom(generateKeyPairSync('ed25519').privateKey);
}

/** PEM (PKCS #8) both ways: the form keys have at rest. */
export const signingKeyToPem = (key: SigningKey): string =>
  key.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString();
export const signingKeyFromPem = (pem: string): SigningKey => signingKeyFrom(createPrivateKey(pem));

function signingKeyFrom(privateKey: KeyObject): SigningKey {
  const publicKey = createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '';
  return { keyId: fingerprintOf(publicKey).slice(0, 16), privateKey, publicKey };
}

/** What a person or an SDK pins as trust root: SHA-256 of the raw public key, base64url (43 characters). */
export function fingerprintOf(publicKey: string): string {
  return createHash('sha256').update(Buffer.from(publicKey, 'base64url')).digest('base64url');
}

export function signDocument(document: Uint8Array, key: SigningKey): Signed {
  return { document, signature: sign(null, document, key.privateKey) };
}

/** False for a wrong signature and for a malformed one alike. `publicKey` is raw base64url; the algorithm is pinned to Ed25519. */
export function isSignedBy(signed: Signed, publicKey: string): boolean {
  if (signed.signature.length !== 64) return false;
  return verify(null, signed.document, keyObjectOf(publicKey), signed.signature);
}

/** Keys that stay parsed: a node that starts verifies thousands of documents with one of them. */
const KEY_OBJECT_COUNT_MAX = 16;
const keyObjects = new Map<string, KeyObject>();

function keyObjectOf(publicKey: string): KeyObject {
  const known = keyObjects.get(publicKey);
  if (known !== undefined) return known;
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: publicKey }, format: 'jwk' });
  if (keyObjects.size >= KEY_OBJECT_COUNT_MAX) keyObjects.clear();
  keyObjects.set(publicKey, key);
  return key;
}
