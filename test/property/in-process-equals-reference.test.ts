import assert from 'node:assert/strict';
import { deserialize, serialize } from 'node:v8';
import { type Definition, type FlagSet, InProcessEvaluator, ReferenceEvaluation } from '@guidon/engine';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parsedFlagSet } from './compare-evaluators.js';
import { context } from './context-generators.js';
import { definitions } from './flag-set-generators.js';
import { readRegressions, writeRegression } from './regressions.js';

/**
 * The in-process evaluator on JavaScript values that no wire carries (lone surrogates, undefined, bigint, holes, dates), and along a line
 * of revisions. What can be received is compared in kernel-equals-reference.test.ts.
 */
const SUITE = 'in-process-equals-reference';
const isDeep = process.env.GUIDON_DEEP === '1';
const EVALUATION_COUNT_MIN = isDeep ? 1_000_000 : 20_000;
const CONTEXTS_PER_SET = 12;
/** Two revisions of 5 flags and an unknown one, and then those visible. */
const RUN_COUNT = Math.ceil(EVALUATION_COUNT_MIN / (CONTEXTS_PER_SET * 2 * 6));

interface RawCase {
  readonly revisions: readonly (readonly Definition[])[];
  /** Contexts as v8.serialize writes them, base64. */
  readonly contexts: readonly string[];
  readonly now: number;
  readonly clientSideOnly: boolean;
}

function compareRaw({ revisions, contexts, now, clientSideOnly }: RawCase): number {
  const values = contexts.map((text): unknown => deserialize(Buffer.from(text, 'base64')));
  let count = 0;
  const compare = (flagSet: FlagSet, evaluator: InProcessEvaluator): void => {
    const keys = [...flagSet.flags.keys(), 'unknown'];
    for (const value of values) {
      const reference = new ReferenceEvaluation(flagSet, value, { now, clientSideOnly });
      for (const key of keys) {
        assert.deepEqual(evaluator.evaluate(key, value, { now, clientSideOnly }), reference.evaluate(key));
      }
      const visible = reference.evaluateAllVisible();
      assert.deepEqual(evaluator.evaluateAll(value, { now, clientSideOnly }), visible);
      count += keys.length + visible.length;
    }
  };
  const steps: { flagSet: FlagSet; evaluator: InProcessEvaluator }[] = [];
  for (const revision of revisions) {
    const flagSet = sharing(steps.at(-1)?.flagSet, parsedFlagSet(revision));
    const step = { flagSet, evaluator: new InProcessEvaluator(flagSet, steps.at(-1)?.evaluator) };
    steps.push(step);
    compare(flagSet, step.evaluator);
  }
  const [first] = steps; // a revision that others were built upon still answers as it did
  if (first !== undefined) compare(first.flagSet, first.evaluator);
  return count;
}

/** Equal definitions stay the same object from revision to revision, as in a node. */
function sharing(previous: FlagSet | undefined, flagSet: FlagSet): FlagSet {
  if (previous === undefined) return flagSet;
  const share = <D extends Definition>(before: ReadonlyMap<string, D>, after: ReadonlyMap<string, D>): Map<string, D> =>
    new Map(
      [...after].map(([key, definition]) => {
        const known = before.get(key);
        return [key, known !== undefined && JSON.stringify(known) === JSON.stringify(definition) ? known : definition];
      }),
    );
  return {
    flags: share(previous.flags, flagSet.flags),
    segments: share(previous.segments, flagSet.segments),
    segmentKeys: share(previous.segmentKeys, flagSet.segmentKeys),
  };
}

/** Now and then definitions name U+FFFD, which lone surrogates read as. Key lists stay: they are sorted and split by hash. */
const named = fc
  .tuple(definitions, fc.boolean())
  .map(([set, isReplaced]) =>
    set.map((definition) =>
      isReplaced && definition.kind !== 'segment-keys'
        ? (JSON.parse(JSON.stringify(definition).replaceAll('ключ', 'кл\ufffdч')) as Definition)
        : definition,
    ),
  );

/** The second revision takes some definitions of another set. Segments and their lists change together. */
const revisions = fc.tuple(named, named, fc.nat(2 ** 5 - 1), fc.boolean()).map(([before, other, mask, isOther]) => {
  const flags = before.filter(({ kind }) => kind === 'flag');
  const others = other.filter(({ kind }) => kind === 'flag');
  const taken = flags.map((flag, index) => (((mask >> index) & 1) === 0 ? flag : (others[index] ?? flag)));
  return [before, [...taken, ...(isOther ? other : before).filter(({ kind }) => kind !== 'flag')]];
});

const oddity = fc.constantFrom<() => unknown>(
  () => undefined,
  () => 42n,
  () => 2n ** 70n,
  () => new Date(0),
  () => new Array(2),
  () => [null, undefined, 7n, {}],
  () => new Map([['a', 1]]),
  () => '\ud800',
  () => 'a\udc00',
);

/** Some members become odd, some names and texts get a lone surrogate. */
const rawContext = fc
  .tuple(context, fc.array(fc.tuple(fc.nat(), oddity), { maxLength: 2 }), fc.boolean())
  .map(([value, oddities, isReplaced]) => {
    const changed = isReplaced ? replaceTexts(value) : value;
    if (typeof changed !== 'object' || changed === null || Array.isArray(changed)) return changed;
    const entries = Object.entries(changed);
    for (const [position, make] of oddities) {
      const entry = entries[position % Math.max(1, entries.length)];
      if (entry !== undefined) entry[1] = make();
    }
    return Object.fromEntries(entries);
  });

function replaceTexts(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('ключ', 'кл\ud800ч');
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(replaceTexts);
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [name.replaceAll('ключ', 'кл\ud800ч'), replaceTexts(member)]),
  );
}

it.each(readRegressions<RawCase>(SUITE))('in-process == reference, kept case $name', ({ value }) => {
  compareRaw(value);
});

it('in-process == reference on JavaScript values that no wire carries, along a line of revisions (I19)', {
  timeout: isDeep ? 3_600_000 : 120_000,
}, () => {
  const comparison = fc
    .record({
      revisions,
      values: fc.array(rawContext, { minLength: CONTEXTS_PER_SET, maxLength: CONTEXTS_PER_SET }),
      now: fc.constantFrom(0, 1_709_208_000_000, 1_709_208_000_001),
      clientSideOnly: fc.boolean(),
    })
    .map(
      ({ values, ...rest }): RawCase => ({
        ...rest,
        contexts: values.map((value) => serialize(value).toString('base64')),
      }),
    );
  let count = 0;
  const property = fc.property(comparison, (value) => {
    count += compareRaw(value);
  });
  const outcome = fc.check(property, { numRuns: RUN_COUNT });
  if (outcome.failed) {
    writeRegression(SUITE, outcome.counterexample?.[0]);
    throw new Error(`seed ${outcome.seed}, path ${outcome.counterexamplePath}`, { cause: outcome.errorInstance });
  }
  expect(count).toBeGreaterThanOrEqual(EVALUATION_COUNT_MIN);
  console.log(`in-process == reference: ${count} evaluations compared, seed ${outcome.seed}`);
});
