import { parseRetryAfter, RETRY_DELAYS_MS, retryDelayMs } from '@guidon/control-plane/webhooks/retry-schedule.js';
import { expect, test } from 'vitest';

test('retryDelayMs() gives each delay of the schedule with up to a tenth more, and none after the last', () => {
  for (let count = 1; count < RETRY_DELAYS_MS.length; count += 1) {
    const delay = RETRY_DELAYS_MS[count] ?? 0;
    expect(retryDelayMs(count, { random: 0 })).toBe(delay);
    expect(retryDelayMs(count, { random: 0.999 })).toBeCloseTo(delay * 1.0999, 3);
  }
  expect(retryDelayMs(RETRY_DELAYS_MS.length, { random: 0 })).toBeUndefined();
});

test('retryDelayMs() waits as long as the receiver asks, up to a day, and never shorter than the schedule', () => {
  const delay = (retryAfterMs: number) => retryDelayMs(1, { retryAfterMs, random: 0 });
  expect([delay(0), delay(1_000), delay(3_600_000), delay(1e15)]).toEqual([5_000, 5_000, 3_600_000, 86_400_000]);
});

test.each([
  ['120', 120_000],
  ['0', 0],
  ['Thu, 01 Jan 1970 00:01:00 GMT', 50_000],
  ['Thu, 01 Jan 1970 00:00:00 GMT', 0],
  ['-1', undefined],
  ['1.5', undefined],
  ['soon', undefined],
  ['99999999999', undefined],
  [undefined, undefined],
])('parseRetryAfter(%s)', (header, ms) => {
  expect(parseRetryAfter(header, 10_000)).toBe(ms);
});
