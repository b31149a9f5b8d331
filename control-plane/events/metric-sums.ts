import type { EnvironmentRef } from '@guidon/protocol';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { type BucketKeys, bucketsIn, type UsagePeriod } from './usage-buckets.js';
import { sumOfCounts } from './usage-rows.js';

/** Events, those of them with a value, and the sum of those. */
type Sum = readonly [count: number, valueCount: number, sum: number];
/** One bucket: by variation and metric, as a JSON array of both, for they are any text. */
export type MetricSums = Record<string, Sum>;

/** Metrics and variations that one bucket counts apart: whoever has a key may make them up. */
export const METRIC_NAMES_MAX = 40;
/** Of those beyond. */
const OTHER = JSON.stringify(['?', '?']);

/** What the events of one metric add up to among those who were exposed to one variation. */
export interface MetricResult {
  readonly metric: string;
  readonly variation: string;
  readonly count: number;
  /** Of events with a value. */
  readonly sum: number;
  /** null: no event had a value. */
  readonly mean: number | null;
}

export function addMetric(sums: MetricSums, variation: string, metric: string, value: number | undefined): void {
  add(sums, JSON.stringify([variation, metric]), [1, value === undefined ? 0 : 1, value ?? 0]);
}

/** The sums of before with the new ones in them. */
export function joinMetricSums(before: MetricSums | undefined, added: MetricSums): MetricSums {
  const sums = { ...before };
  for (const [name, sum] of Object.entries(added)) add(sums, name, sum);
  return sums;
}

function add(sums: MetricSums, name: string, [count, valueCount, sum]: Sum): void {
  const isNew = sums[name] === undefined;
  const place = isNew && Object.keys(sums).length >= METRIC_NAMES_MAX ? OTHER : name;
  const [countBefore, valueCountBefore, sumBefore] = sums[place] ?? [0, 0, 0];
  sums[place] = [
    sumOfCounts(countBefore, count),
    sumOfCounts(valueCountBefore, valueCount),
    // Infinity is no JSON.
    Math.min(Math.max(sumBefore + sum, -Number.MAX_VALUE), Number.MAX_VALUE),
  ];
}

export function metricKeysOf(environment: EnvironmentRef, flagKey: string): BucketKeys {
  return {
    minutes: (hour) => keys.metricMinutes(environment, hour, flagKey),
    hours: (day) => keys.metricHours(environment, day, flagKey),
  };
}

/** By metric and variation, in the order of their names. */
export function readMetrics(
  store: StoreReader,
  environment: EnvironmentRef,
  flagKey: string,
  period: UsagePeriod,
): MetricResult[] {
  let sums: MetricSums = {};
  for (const [, added] of bucketsIn<MetricSums>(store, metricKeysOf(environment, flagKey), period)) {
    sums = joinMetricSums(sums, added);
  }
  return Object.entries(sums)
    .map(([name, [count, valueCount, sum]]): MetricResult => {
      const [variation, metric] = JSON.parse(name) as [string, string];
      return { metric, variation, count, sum, mean: valueCount === 0 ? null : sum / valueCount };
    })
    .sort((a, b) => order(a.metric, b.metric) || order(a.variation, b.variation));
}

const order = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1);
