import type { StoreReader, StoreTransaction } from '../store/control-store.js';
import type { StoreKey } from '../store/keys.js';
import { DAY_MS, HOUR_MS, MINUTE_MS } from './usage-rows.js';

export type UsageInterval = 'minute' | 'hour';

export interface UsagePeriod {
  readonly interval: UsageInterval;
  readonly from: number;
  readonly to: number;
}

/** Where sums over time lie: a row an hour with the sums of its minutes, and a row a day with those of its hours. */
export interface BucketKeys {
  readonly minutes: (hour: number) => StoreKey;
  readonly hours: (day: number) => StoreKey;
}

/** By the number of the minute or hour in the row. */
type BucketRow<Sums> = Record<string, Sums>;

const MINUTES_PER_HOUR = HOUR_MS / MINUTE_MS;
const HOURS_PER_DAY = DAY_MS / HOUR_MS;

/** Adds sums by minute since 1970 to both rows. `join` answers the sums of before with the new ones in them. */
export function addToBuckets<Sums>(
  transaction: StoreTransaction,
  keys: BucketKeys,
  minutes: ReadonlyMap<number, Sums>,
  join: (before: Sums | undefined, added: Sums) => Sums,
): void {
  const hours = new Map<number, (readonly [bucket: number, sums: Sums])[]>();
  const days = new Map<number, (readonly [bucket: number, sums: Sums])[]>();
  for (const [minute, sums] of minutes) {
    const hour = Math.floor(minute / MINUTES_PER_HOUR);
    const day = Math.floor(hour / HOURS_PER_DAY);
    hours.set(hour, [...(hours.get(hour) ?? []), [minute % MINUTES_PER_HOUR, sums]]);
    days.set(day, [...(days.get(day) ?? []), [hour % HOURS_PER_DAY, sums]]);
  }
  const add = (key: StoreKey, added: readonly (readonly [bucket: number, sums: Sums])[]): void => {
    const row: BucketRow<Sums> = { ...transaction.find<BucketRow<Sums>>(key) };
    for (const [bucket, sums] of added) row[bucket] = join(row[bucket], sums);
    transaction.put(key, row);
  };
  for (const [hour, added] of hours) add(keys.minutes(hour), added);
  for (const [day, added] of days) add(keys.hours(day), added);
}

/** What lies in a period, in the order of time, without buckets in which nothing happened. Reads one row an hour or day. */
export function* bucketsIn<Sums>(
  store: StoreReader,
  keys: BucketKeys,
  { interval, from, to }: UsagePeriod,
): Generator<readonly [at: number, sums: Sums]> {
  const bucketMs = interval === 'minute' ? MINUTE_MS : HOUR_MS;
  const rowMs = interval === 'minute' ? HOUR_MS : DAY_MS;
  const keyOf = interval === 'minute' ? keys.minutes : keys.hours;
  for (let row = Math.floor(from / rowMs); row * rowMs <= to; row += 1) {
    const buckets = Object.entries(store.find<BucketRow<Sums>>(keyOf(row)) ?? {});
    for (const [bucket, sums] of buckets.sort(([a], [b]) => Number(a) - Number(b))) {
      const at = row * rowMs + Number(bucket) * bucketMs;
      if (at + bucketMs > from && at <= to) yield [at, sums];
    }
  }
}
