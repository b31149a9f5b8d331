import { SYSTEM_CLOCK } from '@guidon/control-plane/webhooks/endpoint-lane.js';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test('a delay longer than timers take, as after a clock was set back, does not end at once', () => {
  let count = 0;
  const cancel = SYSTEM_CLOCK.after(2 ** 33, () => {
    count += 1;
  });
  vi.advanceTimersByTime(3_600_000);
  expect(count).toBe(0);
  cancel();
});
