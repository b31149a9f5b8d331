import type { Result } from '@guidon/engine/in-process';
import type { Event } from '@guidon/protocol/events';
import { EventIds } from '@guidon/sdk-core';
import { Usage } from '@guidon/server-sdk/usage.js';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const served = (variation: string): Result => ({
  flag: 'gate',
  value: variation === 'on',
  variation,
  reason: 'SPLIT',
  inExperiment: true,
});

describe('Usage', () => {
  it('tells an exposure when somebody is served another variation than last, also the one of before, and again after a day', () => {
    const events: Event[] = [];
    const usage = new Usage(new EventIds(), (event) => events.push(event));
    const [on, off] = [served('on'), served('off')];
    const told = (): string[] =>
      events
        .splice(0)
        .flatMap((event) => (event.kind === 'exposure' ? [`${JSON.stringify(event.context)} ${event.variation}`] : []));
    const a = { targetingKey: 'a' };
    for (const result of [on, on, off, off, on]) usage.count(result, 1, a);
    usage.count(off, 1, { targetingKey: 'b' });
    expect(told()).toEqual([
      '{"targetingKey":"a"} on',
      '{"targetingKey":"a"} off',
      '{"targetingKey":"a"} on',
      '{"targetingKey":"b"} off',
    ]);
    vi.advanceTimersByTime(24 * 3_600_000 - 1);
    usage.sum();
    usage.count(on, 1, a);
    expect(told()).toEqual([]);
    vi.advanceTimersByTime(1);
    usage.sum();
    usage.count(on, 1, a);
    expect(told()).toEqual(['{"targetingKey":"a"} on']);
  });
});
