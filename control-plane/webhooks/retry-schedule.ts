const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;

/** Before each attempt, as Standard Webhooks recommends; milliseconds, some 75 hours in all. */
export const RETRY_DELAYS_MS: readonly number[] = [
  0,
  5 * SECOND,
  5 * MINUTE,
  30 * MINUTE,
  2 * HOUR,
  5 * HOUR,
  10 * HOUR,
  14 * HOUR,
  20 * HOUR,
  24 * HOUR,
];
/** Of a delay, at most: many endpoints that failed together do not come back together. */
const JITTER = 0.1;
/** A receiver may ask for more time than the schedule gives, up to this. */
const RETRY_AFTER_MS_MAX = 24 * HOUR;

/** How long to wait after `attemptCount` attempts that failed; undefined: that was the last. `random` is in [0, 1). */
export function retryDelayMs(
  attemptCount: number,
  { retryAfterMs = 0, random }: { readonly retryAfterMs?: number | undefined; readonly random: number },
): number | undefined {
  const delay = RETRY_DELAYS_MS[attemptCount];
  if (delay === undefined) return undefined;
  return Math.max(delay * (1 + JITTER * random), Math.min(retryAfterMs, RETRY_AFTER_MS_MAX));
}

/** Milliseconds from a Retry-After header: seconds or a date. Undefined when it is neither. */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\d{1,9}$/.test(header)) return Number(header) * SECOND;
  // What `Date.parse` takes besides is no date of HTTP: it reads -1 as a year.
  const at = /^[A-Z][a-z]{2}, /.test(header) ? Date.parse(header) : Number.NaN;
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}
