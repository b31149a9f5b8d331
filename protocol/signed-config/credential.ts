import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { CREDENTIAL_KINDS, type CredentialKind } from './documents.js';

/**
 * `gdn_<kind>_<id: 22><_><secret: 43><check: 6>`: id is [A-Za-z0-9], secret is 256 random bits in base64url, check is CRC-32 of all
 * before it in base 62, so a cut or mistyped token is refused before any look-up. Only SHA-256(secret) is stored.
 */
export interface Credential {
  readonly kind: CredentialKind;
  readonly credentialId: string;
  readonly secret: string;
}

const ID_CHARS = 22;
const SECRET_CHARS = 43;
const CHECK_CHARS = 6;
const ALPHABET = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** Makes a new token. Show it once; store `hashSecret(secret)`. */
export function generateCredential(kind: CredentialKind): Credential & { token: string } {
  const credentialId = Array.from(randomBytes(ID_CHARS), (byte) => ALPHABET[byte % ALPHABET.length]).join('');
  const secret = randomBytes(32).toString('base64url');
  const body = `gdn_${kind}_${credentialId}_${secret}`;
  return { kind, credentialId, secret, token: body + checkOf(body) };
}

/** Undefined when `token` is not of the form or its check does not hold. Reads no store. */
export function findCredential(token: string): Credential | undefined {
  const kind = CREDENTIAL_KINDS.find((candidate) => token.startsWith(`gdn_${candidate}_`));
  if (kind === undefined) return undefined;
  const idFrom = kind.length + 5;
  const secretFrom = idFrom + ID_CHARS + 1;
  const checkFrom = secretFrom + SECRET_CHARS;
  if (token.length !== checkFrom + CHECK_CHARS || token[secretFrom - 1] !== '_') return undefined;
  const credentialId = token.slice(idFrom, idFrom + ID_CHARS);
  const secret = token.slice(secretFrom, checkFrom);
  if (!/^[A-Za-z0-9]+$/.test(credentialId) || !/^[A-Za-z0-9_-]+$/.test(secret)) return undefined;
  return checkOf(token.slice(0, checkFrom)) === token.slice(checkFrom) ? { kind, credentialId, secret } : undefined;
}

/** Lower-case hex of SHA-256. The secret has 256 random bits, so no slow hash is needed. */
export function hashSecret(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}

/** Constant time in the hash. Compare with a dummy when there is no row, so that an unknown id costs the same. */
export function isSecretOf(secret: string, secretHash: string): boolean {
  const actual = createHash('sha256').update(secret).digest();
  const expected = Buffer.from(secretHash, 'hex');
  return expected.length === actual.length && timingSafeEqual(actual, expected);
}

function checkOf(body: string): string {
  let rest = crc32(body);
  let check = '';
  for (let count = 0; count < CHECK_CHARS; count += 1) {
    check = `${ALPHABET[rest % ALPHABET.length]}${check}`;
    rest = Math.floor(rest / ALPHABET.length);
  }
  return check;
}
