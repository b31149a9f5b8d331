import { EVALUATION_ERROR_CODES, REASONS } from '@guidon/engine';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { testHost } from '../support/kernel-evaluator.js';
import { type ComparisonCase, compareEvaluators, encodeContexts } from './compare-evaluators.js';
import { context } from './context-generators.js';
import { definitions } from './flag-set-generators.js';
import { readRegressions, writeRegression } from './regressions.js';

const SUITE = 'kernel-equals-reference';
const isDeep = process.env.GUIDON_DEEP === '1';
const EVALUATION_COUNT_MIN = isDeep ? 1_000_000 : 20_000;
const CONTEXTS_PER_SET = 24;
/** Each run compares CONTEXTS_PER_SET x 7 flags in a batch and once more what is visible. */
const RUN_COUNT = Math.ceil(EVALUATION_COUNT_MIN / (CONTEXTS_PER_SET * 7));

it.each(readRegressions<ComparisonCase>(SUITE))('kernel == reference, kept case $name', async ({ value }) => {
  await compareEvaluators(await testHost(), value);
});

it('kernel == in-process == reference, bit for bit, on random flag sets and contexts (I19)', {
  timeout: isDeep ? 3_600_000 : 120_000,
}, async () => {
  const host = await testHost();
  const comparison = fc
    .record({
      definitions,
      values: fc.array(context, { minLength: CONTEXTS_PER_SET, maxLength: CONTEXTS_PER_SET }),
      encoding: fc.integer(),
      now: fc.constantFrom(0, 1, -1, 1_709_208_000_000, 1_709_208_000_001, 1_709_207_999_999, 4_102_444_800_000),
      clientSideOnly: fc.boolean(),
    })
    .map(({ values, encoding, ...rest }): ComparisonCase => ({ ...rest, contexts: encodeContexts(values, encoding) }));
  let count = 0;
  const outcomes = new Set<string>();
  let failing: ComparisonCase | undefined;
  const property = fc.asyncProperty(comparison, async (value) => {
    failing = value; // after shrinking, the last one that fails is the smallest
    const results = await compareEvaluators(host, value);
    count += results.length;
    for (const result of results) outcomes.add('errorCode' in result ? result.errorCode : result.reason);
  });
  const outcome = await fc.check(property, { numRuns: RUN_COUNT, endOnFailure: false });
  if (outcome.failed) {
    writeRegression(SUITE, outcome.counterexample?.[0] ?? failing);
    throw new Error(`seed ${outcome.seed}, path ${outcome.counterexamplePath}`, { cause: outcome.errorInstance });
  }
  expect(count).toBeGreaterThanOrEqual(EVALUATION_COUNT_MIN);
  // Generators that no longer reach an outcome would prove nothing about it.
  const all = [...EVALUATION_ERROR_CODES, ...REASONS.filter((reason) => reason !== 'ERROR')];
  expect([...outcomes].sort()).toEqual(all.sort());
  console.log(`kernel == reference: ${count} evaluations compared, seed ${outcome.seed}`);
});
