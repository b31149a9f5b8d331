import { Backoff } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';

describe('Backoff', () => {
  it('failedMs() doubles its window up to the most, and starts over after a success', () => {
    const backoff = new Backoff({ firstMs: 100, maxMs: 1_000, random: () => 1 });
    expect(Array.from({ length: 6 }, () => backoff.failedMs())).toEqual([100, 200, 400, 800, 1_000, 1_000]);
    backoff.succeeded();
    expect(backoff.failedMs()).toBe(100);
  });

  it('failedMs() takes a random part of the window, never none of it', () => {
    expect(new Backoff({ firstMs: 100, maxMs: 1_000, random: () => 0.5 }).failedMs()).toBe(50);
    expect(new Backoff({ firstMs: 100, maxMs: 1_000, random: () => 0 }).failedMs()).toBe(10);
  });

  it('failedMs() stays within its most after thousands of failures', () => {
    const backoff = new Backoff({ firstMs: 100, maxMs: 1_000, random: () => 1 });
    for (let count = 0; count < 5_000; count += 1) backoff.failedMs();
    expect(backoff.failedMs()).toBe(1_000);
  });
});
