import { ROLLOUT_WEIGHT_TOTAL } from '@guidon/protocol';
import { hashPrefixOf } from '../compile/murmur3.js';
import { bucketOf } from '../evaluate/bucket.js';
import type { Run } from './run.js';
import type { Subject } from './subject.js';

/**
 * Gives `bucketOf(salt, text)` of the text that a subject is bucketed by. The salt and its dot are hashed beforehand, and the text is
 * taken as the words that the subject made of it once for all flags, shifted behind the last bytes of the salt.
 */
export class SaltedBucket {
  readonly #salt: string;
  readonly #state: number;
  readonly #tail: number;
  readonly #tailBits: number;
  readonly #prefixBytes: number;

  constructor(salt: string) {
    const { state, tail, tailBytes, length } = hashPrefixOf(`${salt}.`);
    this.#salt = salt;
    this.#state = state | 0;
    this.#tail = tail | 0;
    this.#tailBits = tailBytes * 8;
    this.#prefixBytes = length;
  }

  /** Charges for the text, which takes the longer to hash the longer it is. */
  charged(subject: Subject, text: string, run: Run): number {
    run.spend(subject.units);
    return this.of(subject, text);
  }

  of(subject: Subject, text: string): number {
    const words = subject.wordsOf(text);
    if (words === undefined) return bucketOf(this.#salt, text);
    const tailBits = this.#tailBits;
    const byteCount = (tailBits >> 3) + text.length;
    const blockCount = byteCount >> 2;
    let hash = this.#state;
    let carry = this.#tail;
    for (let index = 0; index < blockCount; index++) {
      const word = words[index] ?? 0;
      hash ^= mix(carry | (word << tailBits));
      hash = (Math.imul((hash << 13) | (hash >>> 19), 5) + 0xe6546b64) | 0;
      carry = tailBits === 0 ? 0 : word >>> (32 - tailBits);
    }
    if ((byteCount & 3) !== 0) hash ^= mix(carry | ((words[blockCount] ?? 0) << tailBits));
    hash ^= this.#prefixBytes + text.length;
    hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
    hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
    return Math.floor((((hash ^ (hash >>> 16)) >>> 0) * ROLLOUT_WEIGHT_TOTAL) / 2 ** 32);
  }
}

function mix(word: number): number {
  const product = Math.imul(word, 0xcc9e2d51);
  return Math.imul((product << 15) | (product >>> 17), 0x1b873593);
}
