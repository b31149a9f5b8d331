import { compilePattern } from '../evaluate/regex.js';

/** Texts that are remembered, of at most LIMITS.regexChars characters each; beyond it the one seen first is forgotten. */
const ACCEPTED_COUNT_MAX = 20_000;

/**
 * Patterns known to compile: a third of a millisecond each, which a snapshot that comes back into memory, or shares its patterns with
 * another one, does not pay again. Whether a text compiles depends on nothing else, so nothing is ever taken back.
 */
export class AcceptedPatterns {
  readonly #texts = new Set<string>();

  isAccepted(pattern: string): boolean {
    if (this.#texts.has(pattern)) return true;
    if (compilePattern(pattern) === undefined) return false;
    if (this.#texts.size >= ACCEPTED_COUNT_MAX) {
      const [oldest] = this.#texts;
      if (oldest !== undefined) this.#texts.delete(oldest);
    }
    this.#texts.add(pattern);
    return true;
  }
}
