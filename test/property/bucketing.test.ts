import assert from 'node:assert/strict';
import {
  bucketOf,
  compileSnapshot,
  decodeStrictMsgpack,
  encodeMsgpack,
  type FlagDefinition,
  type Result,
} from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../support/kernel-evaluator.js';

const FLAG_COUNT = 100;
const CONTEXT_COUNT = process.env.GUIDON_DEEP === '1' ? 100_000 : 10_000;
const CONTEXTS_PER_BATCH = 100;
/** Ten variations of 10 %: the sums are the borders of ten equal ranges of buckets. */
const GROUP_COUNT = 10;

function groupedFlag(index: number): FlagDefinition {
  const variations = Array.from({ length: GROUP_COUNT }, (_, group) => ({ key: `g${group}`, value: `g${group}` }));
  const weights = variations.map(({ key }) => ({ variation: key, weight: 100_000 / GROUP_COUNT }));
  return aFlag(`flag-${index}`, {
    variations,
    offVariation: 'g0',
    salt: `salt${index}`,
    fallthrough: { rollout: { weights } },
  });
}

/** Group of each context in each flag, as the kernel answers. */
async function groupsOfAll(flags: readonly FlagDefinition[]): Promise<Uint8Array[]> {
  const host = await testHost();
  const { compiled } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, 'the flags compile');
  const resident = await host.load(compiled.snapshot);
  const keys = flags.map(({ key }) => key);
  const groups = flags.map(() => new Uint8Array(CONTEXT_COUNT));
  for (let from = 0; from < CONTEXT_COUNT; from += CONTEXTS_PER_BATCH) {
    const contexts = Array.from({ length: CONTEXTS_PER_BATCH }, (_, index) => ({
      targetingKey: `user-${from + index}`,
    }));
    const body = encodeMsgpack({ contexts, flags: keys } as Json);
    const answer = host.evaluate(resident, body, { route: 'batch', now: 0, clientSideOnly: false });
    assert(answer.status === 'ok', JSON.stringify(answer));
    const decoded = decodeStrictMsgpack(answer.bytes);
    assert(decoded.ok, 'the answer is well-formed');
    const { results } = decoded.value as { results: Result[] };
    for (const [index, result] of results.entries()) {
      assert('variation' in result && result.reason === 'SPLIT', 'everybody is in a group');
      const list = groups[index % keys.length];
      assert(list !== undefined, 'answers come context by context');
      list[from + Math.floor(index / keys.length)] = Number(result.variation.slice(1));
    }
  }
  host.release(resident);
  return groups;
}

/** Pearson's correlation of two lists of groups. */
function correlation(a: Uint8Array, b: Uint8Array): number {
  const mean = (list: Uint8Array): number => list.reduce((total, value) => total + value, 0) / list.length;
  const [meanA, meanB] = [mean(a), mean(b)];
  let [ab, aa, bb] = [0, 0, 0];
  for (let index = 0; index < a.length; index += 1) {
    const da = (a[index] ?? 0) - meanA;
    const db = (b[index] ?? 0) - meanB;
    ab += da * db;
    aa += da * da;
    bb += db * db;
  }
  return ab / Math.sqrt(aa * bb);
}

describe('buckets of 100 flags (I21)', async () => {
  const groups = await groupsOfAll(Array.from({ length: FLAG_COUNT }, (_, index) => groupedFlag(index)));

  it('fill ten groups evenly: chi-square', () => {
    const statistics = groups.map((list) => {
      const counts = new Array<number>(GROUP_COUNT).fill(0);
      for (const group of list) counts[group] = (counts[group] ?? 0) + 1;
      const expected = CONTEXT_COUNT / GROUP_COUNT;
      return counts.reduce((total, count) => total + (count - expected) ** 2 / expected, 0);
    });
    // 9 degrees of freedom: p = 0.001 at 27.88. Of 100 flags about 0.1 may lie above; the hash is fixed, so this never flickers.
    expect(statistics.filter((statistic) => statistic > 27.88).length).toBeLessThanOrEqual(1);
    // And not too even either: the mean of chi-square is its degrees of freedom, with a deviation of 0.42 over 100 flags.
    const mean = statistics.reduce((total, statistic) => total + statistic, 0) / statistics.length;
    expect(Math.abs(mean - (GROUP_COUNT - 1))).toBeLessThan(1.7);
  });

  it('do not pick the same people twice: pairwise correlation', () => {
    const deviation = 1 / Math.sqrt(CONTEXT_COUNT);
    let largest = 0;
    let sumOfSquares = 0;
    let pairCount = 0;
    for (const [index, a] of groups.entries()) {
      for (const b of groups.slice(index + 1)) {
        const r = correlation(a, b);
        largest = Math.max(largest, Math.abs(r));
        sumOfSquares += (r / deviation) ** 2;
        pairCount += 1;
      }
    }
    // 4 950 independent pairs: the largest of so many lies near 3.9 deviations, and their spread is 1.
    expect(largest).toBeLessThan(5.5 * deviation);
    expect(Math.abs(sumOfSquares / pairCount - 1)).toBeLessThan(0.1);
  });
});

it('growing a rollout moves nobody out of it (I21)', async () => {
  const shares = [0, 1, 1_000, 10_000, 25_000, 50_000, 50_001, 99_999, 100_000];
  const flags = shares.map((weight, index) =>
    aFlag(`grown-${index}`, {
      salt: 'one-salt',
      fallthrough: {
        rollout: {
          weights: [
            { variation: 'yes', weight },
            { variation: 'no', weight: 100_000 - weight },
          ],
        },
      },
    }),
  );
  const host = await testHost();
  const { compiled } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, 'the flags compile');
  const resident = await host.load(compiled.snapshot);
  for (let index = 0; index < 5_000; index += 1) {
    const body = encodeMsgpack({ context: { targetingKey: `user-${index}` } });
    const answer = host.evaluate(resident, body, { route: 'evaluate', now: 0, clientSideOnly: false });
    assert(answer.status === 'ok', JSON.stringify(answer));
    const decoded = decodeStrictMsgpack(answer.bytes);
    assert(decoded.ok, 'the answer is well-formed');
    const served = (decoded.value as { results: { variation: string }[] }).results.map(({ variation }) => variation);
    // Once in, always in; and exactly where the bucket says.
    const bucket = bucketOf('one-salt', `user-${index}`);
    expect(served).toEqual(shares.map((weight) => (bucket < weight ? 'yes' : 'no')));
  }
  host.release(resident);
});

it('buckets 0 and 99 999 are reached and belong to the first and the last weight', async () => {
  // Found by search; the reference's bucketOf is the witness.
  const edges = { first: edgeKey(0), last: edgeKey(99_999) };
  const host = await testHost();
  const weights = [
    { variation: 'yes', weight: 1 },
    { variation: 'no', weight: 99_998 },
    { variation: 'off', weight: 1 },
  ];
  const flags = [aFlag('edge', { salt: 'edge', fallthrough: { rollout: { weights } } })];
  const { compiled } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision: 1 });
  assert(compiled !== undefined, 'the flag compiles');
  const resident = await host.load(compiled.snapshot);
  const variationOf = (targetingKey: string): string => {
    const body = encodeMsgpack({ flags: 'edge', context: { targetingKey } });
    const answer = host.evaluate(resident, body, { route: 'evaluate', now: 0, clientSideOnly: false });
    assert(answer.status === 'ok', JSON.stringify(answer));
    const decoded = decodeStrictMsgpack(answer.bytes);
    assert(decoded.ok, 'the answer is well-formed');
    return (decoded.value as { variation: string }).variation;
  };
  expect([variationOf(edges.first), variationOf(edges.last)]).toEqual(['yes', 'off']);
  host.release(resident);
});

function edgeKey(bucket: number): string {
  for (let index = 0; index < 5_000_000; index += 1) if (bucketOf('edge', `k${index}`) === bucket) return `k${index}`;
  assert.fail('a bucket is reached within fifty times its share');
}
