/** State of murmur3_x86_32 (seed 0) part way through its input, so that what follows a fixed prefix can be hashed later. */
export interface HashPrefix {
  /** After the whole 4-byte words. */
  readonly state: number;
  /** The last 0-3 bytes, little-endian. */
  readonly tail: number;
  readonly tailBytes: number;
  readonly length: number;
}

const encoder = new TextEncoder();

function mixWord(word: number): number {
  const k = Math.imul(word, 0xcc9e2d51);
  return Math.imul((k << 15) | (k >>> 17), 0x1b873593);
}

function readTail(bytes: Uint8Array, from: number, to: number): number {
  let tail = 0;
  for (let index = to - 1; index >= from; index -= 1) tail = (tail << 8) | (bytes[index] ?? 0);
  return tail;
}

function stateAfterWords(bytes: Uint8Array, from: number, wordsEnd: number, seed: number): number {
  let state = seed | 0;
  for (let index = from; index < wordsEnd; index += 4) {
    const word =
      (bytes[index] ?? 0) |
      ((bytes[index + 1] ?? 0) << 8) |
      ((bytes[index + 2] ?? 0) << 16) |
      ((bytes[index + 3] ?? 0) << 24);
    state ^= mixWord(word);
    state = (state << 13) | (state >>> 19);
    state = (Math.imul(state, 5) + 0xe6546b64) | 0;
  }
  return state;
}

/** murmur3_x86_32 of a run of bytes, unsigned. */
export function murmur3(bytes: Uint8Array, from = 0, to = bytes.length, seed = 0): number {
  const wordsEnd = from + ((to - from) & ~3);
  let h = stateAfterWords(bytes, from, wordsEnd, seed);
  if (wordsEnd < to) h ^= mixWord(readTail(bytes, wordsEnd, to));
  h ^= to - from;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

export function hashPrefixOf(text: string): HashPrefix {
  const bytes = encoder.encode(text);
  const wordsEnd = bytes.length & ~3;
  return {
    state: stateAfterWords(bytes, 0, wordsEnd, 0) >>> 0,
    tail: readTail(bytes, wordsEnd, bytes.length) >>> 0,
    tailBytes: bytes.length - wordsEnd,
    length: bytes.length,
  };
}
