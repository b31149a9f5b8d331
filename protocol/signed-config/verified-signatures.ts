import { hash } from 'node:crypto';
import { isSignedBy, type Signed } from './signature.js';

/**
 * Signatures that were found right, so that bytes which are verified again cost a hash of them instead of a tenth of a millisecond: when a node
 * takes an evicted environment back into memory (bench `neighbour --only cold`), or a thousand clients of a thread are sent one change. Whether
 * a signature is right depends on the bytes and the key alone, so nothing is ever taken back; whether that key is to be trusted is
 * the caller's to ask each time. Wrong ones are not remembered.
 */
export class VerifiedSignatures {
  readonly #countMax: number;
  /** Hashes of what was rightly signed, with the key, oldest first. */
  readonly #seen = new Set<string>();

  /** Each takes about 150 bytes; beyond `countMax` the oldest is forgotten. */
  constructor(countMax: number) {
    this.#countMax = countMax;
  }

  /** As the function of this name. */
  readonly isSignedBy = (signed: Signed, publicKey: string): boolean => {
    const { document, signature } = signed;
    // 64 bytes alone, so that no two that differ are written alike.
    if (signature.length !== 64) return false;
    const name = hash('sha256', Buffer.concat([signature, document]), 'base64') + publicKey;
    if (this.#seen.has(name)) return true;
    if (!isSignedBy(signed, publicKey)) return false;
    if (this.#seen.size >= this.#countMax) for (const oldest of this.#seen) if (this.#seen.delete(oldest)) break;
    this.#seen.add(name);
    return true;
  };
}
