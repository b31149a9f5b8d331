import { CrashLoop } from '@guidon/server/processes/crash-loop.js';
import { describe, expect, it } from 'vitest';

describe('CrashLoop', () => {
  it('gives up after ten starts in a row that ended early, over all places (I20)', () => {
    const crashes = new CrashLoop(2);
    for (let count = 1; count <= 9; count += 1) {
      crashes.endedMs(count % 2, count % 3 === 0 ? 9_999 : undefined);
      expect(crashes.isHopeless(false), `after ${count}`).toBe(false);
    }
    crashes.endedMs(0, 0);
    expect(crashes.isHopeless(false)).toBe(true);
  });

  it('one that listened for ten seconds starts the count again', () => {
    const crashes = new CrashLoop(1);
    for (let count = 0; count < 9; count += 1) crashes.endedMs(0, undefined);
    crashes.endedMs(0, 10_000);
    for (let count = 0; count < 9; count += 1) crashes.endedMs(0, undefined);
    expect(crashes.isHopeless(false)).toBe(false);
  });

  it('waits longer after each early end, with jitter, and never for more than ten seconds', () => {
    const longest = (count: number): number => {
      const waits = Array.from({ length: 200 }, () => {
        const crashes = new CrashLoop(1);
        for (let before = 1; before < count; before += 1) crashes.endedMs(0, undefined);
        return crashes.endedMs(0, undefined);
      });
      expect(new Set(waits).size).toBeGreaterThan(1);
      return Math.max(...waits);
    };
    expect(longest(1)).toBeLessThanOrEqual(100);
    expect(longest(5)).toBeGreaterThan(400);
    expect(longest(30)).toBeLessThanOrEqual(10_000);
  });

  it('believes a first start that says what is wrong, and no later one', () => {
    const crashes = new CrashLoop(1);
    crashes.endedMs(0, undefined);
    expect(crashes.isHopeless(true)).toBe(true);
    crashes.endedMs(0, undefined);
    expect(crashes.isHopeless(true)).toBe(false);
  });
});
