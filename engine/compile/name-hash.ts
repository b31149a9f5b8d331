const MASK_64 = (1n << 64n) - 1n;

/**
 * Hash of a name (an attribute, a kind, a flag key) as the kernel computes it for each name of a context: all of it, in words of 8
 * bytes. What is found by it is compared, and hash-table.ts bounds how much there is to compare.
 */
export function nameHash(name: Uint8Array): number {
  const words = new DataView(new ArrayBuffer((name.length + 7) & ~7));
  new Uint8Array(words.buffer).set(name);
  let h = (BigInt(name.length) * 0x165667b19e3779f9n) & MASK_64;
  for (let at = 0; at < words.byteLength; at += 8) h = mixWord(h ^ words.getBigUint64(at, true));
  h = ((h ^ (h >> 29n)) * 0xbf58476d1ce4e5b9n) & MASK_64;
  return Number(h >> 32n);
}

function mixWord(word: bigint): bigint {
  const h = (word * 0x9e3779b97f4a7c15n) & MASK_64;
  return ((h << 29n) | (h >> 35n)) & MASK_64;
}
