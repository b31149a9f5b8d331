import type { EnvironmentRef } from '@guidon/protocol';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import {
  type BucketRow,
  type Counts,
  DAY_MS,
  HOUR_MS,
  HOURS_KEPT_MS,
  MINUTE_MS,
  MINUTES_KEPT_MS,
  sumOfCounts,
} from './usage-rows.js';

export type UsageInterval = 'minute' | 'hour';

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

export interface UsagePeriod {
  readonly interval: UsageInterval;
  readonly from: number;
  readonly to: number;
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

/** Points in the order of time, those with nothing left out. Reads one row an hour or day. */
export function readUsage(
  store: StoreReader,
  environment: EnvironmentRef,
  flagKey: string,
  { interval, from, to }: UsagePeriod,
): UsagePoint[] {
  const bucketMs = interval === 'minute' ? MINUTE_MS : HOUR_MS;
  const rowMs = interval === 'minute' ? HOUR_MS : DAY_MS;
  const keyOf = interval === 'minute' ? keys.usageMinutes : keys.usageHours;
  const points: UsagePoint[] = [];
  for (let row = Math.floor(from / rowMs); row * rowMs <= to; row += 1) {
    const buckets = Object.entries(store.find<BucketRow>(keyOf(environment, row, flagKey)) ?? {});
    for (const [bucket, counts] of buckets.sort(([a], [b]) => Number(a) - Number(b))) {
      const at = row * rowMs + Number(bucket) * bucketMs;
      if (at + bucketMs > from && at <= to) points.push(pointOf(at, counts));
    }
  }
  return points;
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
