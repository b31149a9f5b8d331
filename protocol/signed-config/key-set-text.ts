import { PlatformError } from '../platform-error.js';
import type { Signed } from './signature.js';

/** The key set as `GET /v1/key-set` answers it, for who verifies config by itself: the document as exactly its text, the signature in base64. */
export interface KeySetText {
  /** Raw 32 bytes, base64url. Whether it is to be trusted says its fingerprint, the trust root. */
  readonly rootPublicKey: string;
  readonly document: string;
  readonly signature: string;
}

export function keySetTextOf(rootPublicKey: string, { document, signature }: Signed): KeySetText {
  return {
    rootPublicKey,
    document: Buffer.from(document).toString('utf8'),
    signature: Buffer.from(signature).toString('base64'),
  };
}

/** Throws `malformed-body`. */
export function keySetFromText(value: unknown): { readonly rootPublicKey: string; readonly keySet: Signed } {
  const members = new Map<string, unknown>(typeof value === 'object' && value !== null ? Object.entries(value) : []);
  const rootPublicKey = members.get('rootPublicKey');
  const document = members.get('document');
  const signature = members.get('signature');
  if (typeof rootPublicKey !== 'string' || !/^[A-Za-z0-9_-]{43}$/.test(rootPublicKey)) throw malformed('rootPublicKey');
  if (typeof document !== 'string' || typeof signature !== 'string') throw malformed('document');
  const keySet = { document: Buffer.from(document, 'utf8'), signature: Buffer.from(signature, 'base64') };
  return { rootPublicKey, keySet };
}

function malformed(name: string): PlatformError {
  return new PlatformError('malformed-body', `key set: ${name} is missing or of the wrong type`);
}
