import type { EventOrigin } from '@guidon/protocol/events';

export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;
export const MINUTES_KEPT_MS = 48 * HOUR_MS;
export const HOURS_KEPT_MS = 90 * DAY_MS;
export const EVENT_LOG_KEPT_MS = 30 * DAY_MS;

/** Stands for a flag: all flags of the environment together. No key begins with it. */
export const ALL_FLAGS = '*';

/**
 * What was counted, by who evaluated and what came of it:
 *
 *   n:<variation>  s:<variation>  w:<variation>   evaluations of a node, of an SDK in its own process, of a client that a node evaluated for
 *   n!<error>      s!<error>      w!<error>       likewise without a variation
 *   x:<variation>                                 exposures
 *   m:                                            metric events, of all flags together alone: see metric-sums.ts
 *
 * Of all flags together there are no variations: `n:` and so on.
 */
export type Counts = Record<string, number>;

/** Names that one bucket counts apart: variations that clients make up must not grow a row without end. */
const COUNT_NAMES_MAX = 100;
/** Of those beyond: behind the letter of who evaluated. */
const OTHER = '?';

export const ORIGIN_LETTERS: Readonly<Record<EventOrigin, string>> = { node: 'n', srv: 's', web: 'w' };

/** Whoever has a key may tell of 10^12 evaluations as often as he likes: a sum stays what JSON and its readers take for a whole number. */
export function sumOfCounts(a: number, b: number): number {
  return Math.min(a + b, Number.MAX_SAFE_INTEGER);
}

export function addCount(counts: Counts, name: string, count: number): void {
  const isNew = counts[name] === undefined;
  const place = isNew && Object.keys(counts).length >= COUNT_NAMES_MAX ? `${name.slice(0, 2)}${OTHER}` : name;
  counts[place] = sumOfCounts(counts[place] ?? 0, count);
}

/** The counts of before with the new ones in them. */
export function joinCounts(before: Readonly<Counts> | undefined, added: Readonly<Counts>): Counts {
  const counts = { ...before };
  for (const [name, count] of Object.entries(added)) addCount(counts, name, count);
  return counts;
}

/** The row under `flagUsage`. Times are epoch milliseconds of the control plane's clock; null = never. */
export interface FlagUsageRow {
  readonly flag: string;
  readonly firstSeenAt: number;
  readonly lastEvaluatedAt: number | null;
  readonly lastExposedAt: number | null;
  readonly evaluations: number;
  readonly errors: number;
  readonly exposures: number;
}

/** What is kept of something that clients name: only so many, the longest unseen goes. */
export interface SeenEntry {
  readonly firstSeenAt: number;
  readonly lastSeenAt: number;
  readonly count: number;
}
/** By name, which may be any text: pairs, not members. */
export type SeenRow = readonly (readonly [name: string, entry: SeenEntry])[];

export const UNKNOWN_FLAGS_MAX = 500;
export const SENDERS_MAX = 200;

export function see(seen: Map<string, SeenEntry>, name: string, count: number, at: number, countMax: number): void {
  const before = seen.get(name);
  seen.set(name, {
    firstSeenAt: before?.firstSeenAt ?? at,
    lastSeenAt: Math.max(before?.lastSeenAt ?? 0, at),
    count: sumOfCounts(before?.count ?? 0, count),
  });
  if (seen.size <= countMax) return;
  const others = [...seen].filter(([other]) => other !== name);
  const [oldest] = others.reduce((a, b) => (a[1].lastSeenAt <= b[1].lastSeenAt ? a : b));
  seen.delete(oldest);
}

/** The row under `eventLogHead`. */
export interface EventLogHead {
  readonly nextSequence: number;
  readonly bytes: number;
  readonly events: number;
  /** Over EVENT_LOG_BYTES_MAX of one day: counted, not kept. */
  readonly dropped: number;
}

export const EVENT_LOG_BYTES_MAX = 64 * 1024 * 1024;
