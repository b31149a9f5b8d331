import type { EnvironmentRef } from '@guidon/protocol';
import type { RevisionRow } from '../commit/definition-store.js';
import type { StoreReader } from '../store/control-store.js';
import { type MetricResult, readMetrics } from './metric-sums.js';
import type { UsageInterval, UsagePeriod } from './usage-buckets.js';
import { periodOf, readUsage, sumOf, type UsagePoint } from './usage-read-model.js';
import { ALL_FLAGS, HOUR_MS, MINUTE_MS } from './usage-rows.js';

/** Flags that one answer tells of. */
export const IMPACT_FLAGS_MAX = 50;

/** `metrics`: what those did who had been exposed to the variations of the flag. */
export type Counted = Omit<UsagePoint, 'at'> & { readonly metrics: readonly MetricResult[] };

export interface FlagImpact {
  readonly flag: string;
  readonly before: Counted;
  readonly after: Counted;
}

export interface RolloutImpact {
  readonly interval: UsageInterval;
  readonly before: { readonly from: number; readonly to: number; readonly metricEvents: number };
  readonly after: { readonly from: number; readonly to: number; readonly metricEvents: number };
  /** How many flags the revision changed; `flags` has the first IMPACT_FLAGS_MAX. */
  readonly flagCount: number;
  readonly flags: readonly FlagImpact[];
}

/**
 * What was counted before and after a revision. The minute or hour in which it was made is in neither: it holds both. Cut to what is kept and to now, so
 * compare shares, not sums.
 */
export function readImpact(
  store: StoreReader,
  environment: EnvironmentRef,
  row: RevisionRow,
  asked: {
    readonly interval: UsageInterval;
    readonly spans: number;
    readonly flag: string | undefined;
    readonly now: number;
  },
): RolloutImpact {
  const { interval, spans, now } = asked;
  const spanMs = interval === 'minute' ? MINUTE_MS : HOUR_MS;
  const madeIn = Math.floor(row.at / spanMs) * spanMs;
  const before = periodOf({ interval, from: madeIn - spans * spanMs, to: madeIn - 1 }, now);
  const after = periodOf({ interval, from: madeIn + spanMs, to: madeIn + (spans + 1) * spanMs - 1 }, now);
  const sumIn = (flag: string, period: UsagePeriod): Counted => ({
    ...sumOf(readUsage(store, environment, flag, period)),
    metrics: readMetrics(store, environment, flag, period),
  });
  const metricEventsIn = (period: UsagePeriod): number => sumIn(ALL_FLAGS, period).metricEvents;
  const changed = [...row.changed.map(({ kind, key }) => [kind, key] as const), ...row.removed];
  const flags =
    asked.flag === undefined ? changed.flatMap(([kind, key]) => (kind === 'flag' ? [key] : [])) : [asked.flag];
  return {
    interval,
    before: { from: before.from, to: before.to, metricEvents: metricEventsIn(before) },
    after: { from: after.from, to: after.to, metricEvents: metricEventsIn(after) },
    flagCount: flags.length,
    flags: flags
      .slice(0, IMPACT_FLAGS_MAX)
      .map((flag) => ({ flag, before: sumIn(flag, before), after: sumIn(flag, after) })),
  };
}
