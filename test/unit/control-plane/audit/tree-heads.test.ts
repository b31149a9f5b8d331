import { outdatedHeads, TREE_HEADS_MAX } from '@guidon/control-plane/audit/tree-heads.js';
import { describe, expect, test } from 'vitest';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
interface Head {
  readonly size: number;
  readonly issuedAt: number;
}

/** A head each `everyMs` from `from` on, thinned out once an hour as it is in the store. */
function keptAfter(days: number, everyMs: number, from = 0): Head[] {
  let kept: Head[] = [];
  let size = 0;
  for (let at = from; at <= from + days * DAY_MS; at += everyMs) {
    size += 1;
    kept.push({ size, issuedAt: at });
    if (at % HOUR_MS !== 0) continue;
    const outdated = new Set(outdatedHeads(kept, at));
    kept = kept.filter((head) => !outdated.has(head));
  }
  return kept;
}

describe('outdatedHeads()', () => {
  test('keeps each of the last hour, one an hour of the last day, one a day of sixty days, one a month before', () => {
    const now = 400 * DAY_MS;
    const kept = keptAfter(400, MINUTE_MS);
    const younger = (ms: number): number => kept.filter(({ issuedAt }) => now - issuedAt < ms).length;
    expect(younger(HOUR_MS)).toBe(60);
    expect(younger(DAY_MS)).toBe(60 + 23);
    expect(younger(60 * DAY_MS)).toBe(60 + 23 + 59);
    expect(kept.length - younger(60 * DAY_MS)).toBeGreaterThanOrEqual(11);
    expect(kept[0]).toEqual({ size: 1, issuedAt: 0 });
    expect(kept.length).toBeLessThan(160);
  });

  test('a head that is kept today was kept all the time: none comes back, the newest always stays', () => {
    const heads = [0, 10, 20].map((minutes, index) => ({ size: index + 1, issuedAt: minutes * MINUTE_MS }));
    expect(outdatedHeads(heads, 30 * MINUTE_MS)).toEqual([]);
    expect(outdatedHeads(heads, 5 * HOUR_MS)).toEqual([heads[1]]);
    expect(outdatedHeads(heads, 900 * DAY_MS)).toEqual([heads[1]]);
    expect(outdatedHeads([], 0)).toEqual([]);
  });

  test('of one log there are never more than the bound, the oldest go', () => {
    const heads = Array.from({ length: TREE_HEADS_MAX + 5 }, (_, index) => ({
      size: index,
      issuedAt: index * 30 * DAY_MS,
    }));
    const outdated = outdatedHeads(heads, TREE_HEADS_MAX * 40 * DAY_MS);
    expect(outdated.map(({ size }) => size)).toEqual([0, 1, 2, 3, 4]);
  });
});
