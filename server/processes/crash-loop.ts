import { strict as assert } from 'node:assert';
import { Backoff } from '@guidon/protocol';

const RESTART = { firstMs: 100, maxMs: 10_000 } as const;
/** A process that has listened for so long has started well: its next restart waits as little as the first. */
const STABLE_MS = 10_000;
/** Starts in a row, over all places, that ended before that; then, and only while nobody listens, it is given up (I20, I25). */
const FAILED_STARTS_MAX = 10;

/** When processes that end are started anew, and when no more. Waiting has full jitter. */
export class CrashLoop {
  readonly #backoffs: readonly Backoff[];
  #failedStarts = 0;

  constructor(placeCount: number) {
    this.#backoffs = Array.from({ length: placeCount }, () => new Backoff(RESTART));
  }

  /** A process has ended that had listened for `listenedMs`, undefined: never. Returns how long to wait before the next, milliseconds. */
  endedMs(placeIndex: number, listenedMs: number | undefined): number {
    const backoff = this.#backoffs[placeIndex];
    assert(backoff !== undefined, 'a process has a place');
    const isStable = listenedMs !== undefined && listenedMs >= STABLE_MS;
    if (isStable) backoff.succeeded();
    this.#failedStarts = isStable ? 0 : this.#failedStarts + 1;
    return backoff.failedMs();
  }

  /** To be asked while nobody listens. A process that says at its first start that what it was told cannot work will say so again. */
  isHopeless(isMisconfigured: boolean): boolean {
    return (isMisconfigured && this.#failedStarts <= this.#backoffs.length) || this.#failedStarts >= FAILED_STARTS_MAX;
  }
}
