import { hash } from 'node:crypto';
import { isSignedBy, type Signed } from '@guidon/protocol/signed-config';

/** Of the newest revisions of so many environments. */
const REMEMBERED_COUNT_MAX = 256;
/** Hashes of what was rightly signed, with the key, oldest first. A wrong signature is verified each time. */
const remembered = new Set<string>();

/**
 * `isSignedBy`, once for all clients of this thread: of a thousand that are sent the same change one pays for the signature. What is remembered is that
 * these bytes carry a signature of this key; whether that key is to be trusted is for each client to say (Trust).
 */
export function isSignedByRemembered(signed: Signed, publicKey: string): boolean {
  const { document, signature } = signed;
  // 64 bytes alone, so that no two that differ are written alike.
  if (signature.length !== 64) return false;
  const name = hash('sha256', Buffer.concat([Buffer.from(`${publicKey}\0`), signature, document]), 'base64url');
  if (remembered.has(name)) return true;
  if (!isSignedBy(signed, publicKey)) return false;
  if (remembered.size >= REMEMBERED_COUNT_MAX) for (const oldest of remembered) if (remembered.delete(oldest)) break;
  remembered.add(name);
  return true;
}
