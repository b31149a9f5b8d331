import { DurationHistogram } from '@guidon/protocol/metrics';

const BOUNDS_SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5] as const;

/** One request in this many is timed: two clock reads would cost each request more than the look-up of its credential. */
const TIMED_EVERY = 16;

/** What the metrics page says of one route: plain numbers, bumped on the hot path. */
export class RouteCounters {
  readonly path: string;
  readonly #failures = new Map<number, number>();
  #okCount = 0;
  received = 0;
  aborted = 0;
  /** Closed because a request was pipelined behind one that answers later. */
  pipelined = 0;
  timeouts = 0;
  readonly durations = new DurationHistogram(BOUNDS_SECONDS);

  constructor(path: string) {
    this.path = path;
  }

  /** When the request started, `performance.now()`, if it is one of those that are timed; else 0. */
  receive(): number {
    this.received += 1;
    return this.received % TIMED_EVERY === 0 ? performance.now() : 0;
  }

  answered(status: number): void {
    if (status === 200) this.#okCount += 1;
    else this.#failures.set(status, (this.#failures.get(status) ?? 0) + 1);
  }

  /** Answers by status. */
  get statuses(): ReadonlyMap<number, number> {
    return new Map([[200, this.#okCount], ...this.#failures]);
  }

  /** `startedAt` as `receive` returned it. */
  finished(startedAt: number): void {
    if (startedAt === 0) return;
    this.durations.observe((performance.now() - startedAt) / 1_000);
  }
}
