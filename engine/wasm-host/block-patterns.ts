import assert from 'node:assert/strict';
import { FLAG, FLAG_MAGIC, FRAGMENT, SEGMENT, SEGMENT_MAGIC } from '../compile/layout.js';
import { type CompiledPattern, compilePattern } from '../evaluate/regex.js';
import type { MemoryViews } from './memory-views.js';

/** Patterns that stay compiled; beyond it the one compiled first makes room and is compiled again when asked for. */
const COMPILED_PATTERN_COUNT_MAX = 10_000;

/**
 * What the kernel's `matches` calls. The text of a pattern is read from its block each time and is the key of the cache: an address may
 * mean another block from one call to the next. One per thread; nobody has to invalidate it.
 */
export class BlockPatterns {
  readonly #compiled = new Map<string, CompiledPattern>();

  /** Is the block's pattern found in the input, which is cut already? */
  find({ view, text }: MemoryViews, block: number, index: number, input: number, inputBytes: number): boolean {
    const magic = view.getUint32(block + FLAG.magic, true);
    assert(magic === FLAG_MAGIC || magic === SEGMENT_MAGIC, 'flags and segments have patterns');
    const table = view.getUint32(block + (magic === FLAG_MAGIC ? FLAG.patterns : SEGMENT.patterns), true);
    const fragment = block + table + index * FRAGMENT.bytes;
    const from = block + view.getUint32(fragment + FRAGMENT.offset, true);
    const pattern = text.toString('utf8', from, from + view.getUint32(fragment + FRAGMENT.length, true));
    return this.#compile(pattern).find(text.toString('utf8', input, input + inputBytes));
  }

  #compile(pattern: string): CompiledPattern {
    const known = this.#compiled.get(pattern);
    if (known !== undefined) return known;
    const compiled = compilePattern(pattern);
    assert(compiled !== undefined, 'the verifier compiled every pattern');
    if (this.#compiled.size >= COMPILED_PATTERN_COUNT_MAX) {
      const [oldest] = this.#compiled.keys();
      if (oldest !== undefined) this.#compiled.delete(oldest);
    }
    this.#compiled.set(pattern, compiled);
    return compiled;
  }
}
