import { LIMITS } from '@guidon/protocol';
import { RE2JS } from 're2js';
import { isPairAt } from '../flag-model/text.js';

/** A compiled pattern. Matching takes time linear in the input, whatever the pattern (RE2 semantics). */
export interface CompiledPattern {
  /** Instructions: a search may take as long as they times the bytes of its input. */
  readonly programSize: number;
  /** Unanchored search in an input that `cutRegexInput` has cut. */
  find(input: string): boolean;
}

/**
 * Instructions of a compiled pattern. Counted repetitions multiply: 256 characters can ask for a million instructions, and an input
 * costs up to its length times them. Patterns that people write have a few hundred.
 */
export const REGEX_PROGRAM_SIZE_MAX = 4_000;

/** Undefined when the pattern is too long, not RE2 syntax, or compiles to more than REGEX_PROGRAM_SIZE_MAX instructions. */
export function compilePattern(pattern: string): CompiledPattern | undefined {
  if (pattern.length > LIMITS.regexPatternUnits) return undefined;
  let compiled: RE2JS;
  try {
    compiled = RE2JS.compile(pattern);
  } catch {
    return undefined; // whatever it is, it is no pattern that can be matched
  }
  const programSize = compiled.programSize();
  if (programSize > REGEX_PROGRAM_SIZE_MAX) return undefined;
  return { programSize, find: (input) => compiled.test(input) };
}

/** The longest prefix of whole code points that has at most LIMITS.regexInputBytes UTF-8 bytes. Its end is the end for `$`. */
export function cutRegexInput(text: string): { readonly input: string; readonly byteCount: number } {
  let byteCount = 0;
  let index = 0;
  while (index < text.length) {
    const unit = text.charCodeAt(index);
    const isPair = isPairAt(text, index);
    const bytes = byteCount + codePointBytes(unit, isPair);
    if (bytes > LIMITS.regexInputBytes) break;
    byteCount = bytes;
    index += isPair ? 2 : 1;
  }
  return { input: index === text.length ? text : text.slice(0, index), byteCount };
}

function codePointBytes(unit: number, isPair: boolean): number {
  if (isPair) return 4;
  if (unit < 0x80) return 1;
  return unit < 0x800 ? 2 : 3;
}

/** Patterns of one flag set that stay compiled; the one compiled first makes room. */
const PATTERN_COUNT_MAX = 1_000;

export class PatternCache {
  readonly #patterns = new Map<string, CompiledPattern | undefined>();

  find(pattern: string): CompiledPattern | undefined {
    if (this.#patterns.has(pattern)) return this.#patterns.get(pattern);
    const compiled = compilePattern(pattern);
    if (this.#patterns.size >= PATTERN_COUNT_MAX) {
      const [oldest] = this.#patterns.keys();
      if (oldest !== undefined) this.#patterns.delete(oldest);
    }
    this.#patterns.set(pattern, compiled);
    return compiled;
  }
}
