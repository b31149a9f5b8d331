import { compileSnapshot, encodeMsgpack, KernelHost } from '@guidon/engine';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';

/** Keys that no flag has cost nothing to evaluate, and yet each is hashed, escaped and copied for every context. */
const INLINE_COST = 32_768;

describe('the cost of unknown keys in a batch', async () => {
  const { compiled } = compileSnapshot(flagSetOf([aFlag('a')]), { environment: TEST_ENVIRONMENT, revision: 1 });
  if (compiled === undefined) throw new Error('the set compiles');
  const host = await KernelHost.create();
  const resident = await host.load(compiled.snapshot);

  const statusOf = (flags: readonly string[], contextCount: number, costMax: number): string => {
    const body = encodeMsgpack({ flags: [...flags], contexts: Array.from({ length: contextCount }, () => ({})) });
    const options = { route: 'batch', now: 0, clientSideOnly: false, answerFormat: 'json' } as const;
    return host.evaluateWithin(costMax, resident, body, options).status;
  };

  it.each([
    [3 * 1024, 9_000],
    [10 * 1024, 3_000],
    [20 * 1024, 1_500],
    [60 * 1024, 100],
  ])('a key of %i bytes for %i contexts is no work for the serving thread', (keyBytes, contextCount) => {
    expect(statusOf(['\u0001'.repeat(keyBytes)], contextCount, INLINE_COST)).toBe('costly');
  });

  it.each([1, 4, 100, 4_000])('grows with the bytes of a key and the contexts: %i bytes', (keyBytes) => {
    const key = 'x'.repeat(keyBytes);
    const leastFor = (contextCount: number): number => {
      let low = 1;
      let high = 0xffff_ffff;
      while (low < high) {
        const middle = Math.floor((low + high) / 2);
        if (statusOf([key], contextCount, middle) === 'costly') low = middle + 1;
        else high = middle;
      }
      return low;
    };
    // An eighth of the body is what reading it costs.
    expect(leastFor(200) - leastFor(100)).toBeGreaterThanOrEqual(100 * Math.max(1, keyBytes / 4));
  });

  it.each([
    ['a misspelt key of usual length', ['checkout-redesgn'], 500],
    ['ten of them for ten contexts', Array.from({ length: 10 }, (_, index) => `unknown-${index}`), 10],
  ])('%s stays on the serving thread', (_, flags, contextCount) => {
    expect(statusOf(flags, contextCount, INLINE_COST)).toBe('ok');
  });
});
