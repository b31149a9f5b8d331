import type { EnvironmentRef } from '@guidon/protocol';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { type BucketKeys, bucketsIn, type UsagePeriod } from './usage-buckets.js';
import { type Counts, DAY_MS, HOUR_MS, HOURS_KEPT_MS, MINUTES_KEPT_MS, sumOfCounts } from './usage-rows.js';

/** What was counted from an instant on, for an interval. */
export interface UsagePoint {
  /** Epoch milliseconds. */
  readonly at: number;
  /** By variation, of nodes and of SDKs that evaluate themselves. */
  readonly evaluations: Readonly<Record<string, number>>;
  /** By error code, likewise. */
  readonly errors: Readonly<Record<string, number>>;
  /** What clients say that they used of what a node had evaluated for them, by variation. */
  readonly clientReads: Readonly<Record<string, number>>;
  readonly exposures: Readonly<Record<string, number>>;
  readonly metricEvents: number;
}

/** The period that is asked for, cut to what is kept. */
export function periodOf(asked: Partial<UsagePeriod>, now: number): UsagePeriod {
  const { interval = 'hour' } = asked;
  const keptMs = interval === 'minute' ? MINUTES_KEPT_MS : HOURS_KEPT_MS;
  const defaultMs = interval === 'minute' ? HOUR_MS : DAY_MS;
  const to = Math.min(asked.to ?? now, now);
  const from = Math.max(asked.from ?? to - defaultMs, now - keptMs);
  return { interval, from, to };
}

/** Where the counts of a flag lie, or those of all together. */
export function usageKeysOf(environment: EnvironmentRef, flagKey: string): BucketKeys {
  return {
    minutes: (hour) => keys.usageMinutes(environment, hour, flagKey),
    hours: (day) => keys.usageHours(environment, day, flagKey),
  };
}

/** Points in the order of time, those with nothing left out. */
export function readUsage(
  store: StoreReader,
  environment: EnvironmentRef,
  flagKey: string,
  period: UsagePeriod,
): UsagePoint[] {
  const buckets = bucketsIn<Readonly<Counts>>(store, usageKeysOf(environment, flagKey), period);
  return Array.from(buckets, ([at, counts]) => pointOf(at, counts));
}

function pointOf(at: number, counts: Readonly<Counts>): UsagePoint {
  const named = (prefixes: readonly string[]): Record<string, number> => {
    const sums = new Map<string, number>();
    for (const [name, count] of Object.entries(counts)) {
      if (!prefixes.includes(name.slice(0, 2))) continue;
      sums.set(name.slice(2), sumOfCounts(sums.get(name.slice(2)) ?? 0, count));
    }
    return Object.fromEntries(sums);
  };
  return {
    at,
    evaluations: named(['n:', 's:']),
    errors: named(['n!', 's!']),
    clientReads: named(['w:']),
    exposures: named(['x:']),
    metricEvents: counts['m:'] ?? 0,
  };
}

/** All points as one. */
export function sumOf(points: readonly UsagePoint[]): Omit<UsagePoint, 'at'> {
  const sum = (member: 'evaluations' | 'errors' | 'clientReads' | 'exposures'): Record<string, number> => {
    const sums = new Map<string, number>();
    for (const point of points) {
      for (const [name, count] of Object.entries(point[member]))
        sums.set(name, sumOfCounts(sums.get(name) ?? 0, count));
    }
    return Object.fromEntries(sums);
  };
  return {
    evaluations: sum('evaluations'),
    errors: sum('errors'),
    clientReads: sum('clientReads'),
    exposures: sum('exposures'),
    metricEvents: points.reduce((total, { metricEvents }) => total + metricEvents, 0),
  };
}
