import type { EnvironmentRef } from '@guidon/protocol';
import type { TrialLine } from './trial-line.js';

/** Parsed definitions, compiled blocks and what a line looks up together weigh about this many times the definition bytes. */
const BYTES_FACTOR = 6;

/**
 * Two lines of an environment at most, the newest and the one it was made from: a change that was tried as a whole and then not made leaves its
 * base in place for the next. Bounded by bytes; the environment used longest ago goes first. The caller then sends everything again.
 */
export class TrialLines {
  readonly #bytesMax: number;
  readonly #lines = new Map<string, readonly TrialLine[]>();

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** The line that has been at `digest`, taken back to it. */
  find(environment: EnvironmentRef, digest: string): TrialLine | undefined {
    const key = keyOf(environment);
    const lines = this.#lines.get(key);
    if (lines === undefined) return undefined;
    this.#lines.delete(key);
    this.#lines.set(key, lines);
    return lines.find((line) => line.rewindTo(digest));
  }

  put(environment: EnvironmentRef, line: TrialLine, madeFrom: TrialLine | undefined): void {
    const key = keyOf(environment);
    this.#lines.delete(key);
    this.#lines.set(key, madeFrom === undefined ? [line] : [line, madeFrom]);
    let bytes = 0;
    for (const lines of this.#lines.values()) bytes += weightOf(lines);
    for (const [oldest, lines] of this.#lines) {
      if (oldest === key || bytes <= this.#bytesMax) break;
      this.#lines.delete(oldest);
      bytes -= weightOf(lines);
    }
  }
}

/** Two lines of one environment share what did not change between them. */
const weightOf = (lines: readonly TrialLine[]): number =>
  Math.max(...lines.map(({ anchor }) => anchor.definitionBytes)) * BYTES_FACTOR;

const keyOf = ({ tenantId, environmentId }: EnvironmentRef): string => `${tenantId}/${environmentId}`;
