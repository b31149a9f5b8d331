const MASK_64 = (1n << 64n) - 1n;

function wordAt(view: DataView, offset: number): bigint {
  return view.getBigUint64(offset, true);
}

/**
 * Hash of a name (an attribute, a kind, a flag key) as the kernel computes it for each name of a context: a few words of it. Collisions
 * only cost a comparison.
 */
export function nameHash(name: Uint8Array): number {
  const length = name.length;
  let h: bigint;
  if (length < 8) {
    const word = new Uint8Array(8);
    word.set(name);
    h = (wordAt(new DataView(word.buffer), 0) ^ (BigInt(length) << 56n)) * 0x9e3779b97f4a7c15n;
  } else {
    const view = new DataView(name.buffer, name.byteOffset, length);
    const middle = wordAt(view, (length >> 1) - 4) * 0xc2b2ae3d27d4eb4fn;
    const last = (wordAt(view, length - 8) * 0x165667b19e3779f9n) & MASK_64;
    h = ((wordAt(view, 0) ^ BigInt(length)) * 0x9e3779b97f4a7c15n) & MASK_64;
    h ^= (((last << 32n) | (last >> 32n)) + middle) & MASK_64;
  }
  h &= MASK_64;
  h = ((h ^ (h >> 29n)) * 0xbf58476d1ce4e5b9n) & MASK_64;
  return Number(h >> 32n);
}
