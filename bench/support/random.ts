/** Numbers in [0, 1) from a seed: the same run after run (xorshift32). */
export function seededRandom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

/** Picks 0 … count - 1, the n-th with a chance in proportion to 1/n (Zipf with exponent 1). */
export function zipfPicker(count: number, random: () => number): () => number {
  const cumulative = new Float64Array(count);
  let total = 0;
  for (let index = 0; index < count; index += 1) {
    total += 1 / (index + 1);
    cumulative[index] = total;
  }
  return () => {
    const at = random() * total;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((cumulative[middle] ?? total) > at) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}
