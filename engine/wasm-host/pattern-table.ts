import assert from 'node:assert/strict';
import { type CompiledPattern, compilePattern } from '../evaluate/regex.js';

/** Patterns that stay compiled; beyond it the one compiled first makes room and is compiled again when asked for. */
const COMPILED_PATTERN_COUNT_MAX = 10_000;

/** What the kernel's `matches` calls: the patterns of each resident block, by the block's address. */
export class PatternTable {
  readonly #patternsOf = new Map<number, readonly string[]>();
  readonly #compiled = new Map<string, CompiledPattern>();

  add(block: number, patterns: readonly string[]): void {
    if (patterns.length > 0) this.#patternsOf.set(block, patterns);
  }

  remove(block: number): void {
    this.#patternsOf.delete(block);
  }

  /** Is the pattern found in the input, which is cut already? */
  find(block: number, index: number, input: string): boolean {
    const pattern = this.#patternsOf.get(block)?.[index];
    assert(pattern !== undefined, 'the verifier saw every pattern that a clause names');
    return this.#compile(pattern).find(input);
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
