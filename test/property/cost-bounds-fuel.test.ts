import assert from 'node:assert/strict';
import {
  compileSnapshot,
  encodeMsgpack,
  type FlagSet,
  ReferenceEvaluation,
  type ResidentSnapshot,
} from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { TEST_ENVIRONMENT, testHost } from '../support/kernel-evaluator.js';
import { parsedFlagSet } from './compare-evaluators.js';
import { context } from './context-generators.js';
import { definitions } from './flag-set-generators.js';

const NOW = 1_709_208_000_000;
const RUN_COUNT = process.env.GUIDON_DEEP === '1' ? 20_000 : 150;

/** Long texts and long arrays in the places where short ones were. */
function inflated(value: unknown, factor: number, depth = 0): unknown {
  if (typeof value === 'string') return value.repeat(factor);
  if (Array.isArray(value)) return Array.from({ length: factor }, () => value).flat();
  if (typeof value !== 'object' || value === null || depth > 2) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [
      name,
      name === 'kind' ? member : inflated(member, factor, depth + 1),
    ]),
  );
}

/** Fuel that all of `keys` take for one context, each flag and prerequisite once. */
function fuelOf(flagSet: FlagSet, value: unknown, keys: readonly string[]): number {
  const used = new Map<string, number>();
  for (const key of keys) {
    const { flags } = new ReferenceEvaluation(flagSet, value, { now: NOW, clientSideOnly: false }).explain(key);
    for (const { flag, fuelUsed } of flags) used.set(flag, fuelUsed);
  }
  return [...used.values()].reduce((sum, fuel) => sum + fuel, 0);
}

const isJson = (value: unknown): value is Json => JSON.stringify(value) !== undefined;

it('no request is admitted below the fuel that it takes, whatever its form (I22)', { timeout: 600_000 }, async () => {
  const host = await testHost();
  let refusedCount = 0;
  let heaviest = 0;
  const check = (
    resident: ResidentSnapshot,
    route: 'evaluate' | 'batch',
    body: Readonly<Record<string, unknown>>,
    fuel: number,
  ): void => {
    assert(isJson(body), 'a body is JSON');
    const bytes = encodeMsgpack(body);
    const options = { route, now: NOW, clientSideOnly: false };
    const plain = host.evaluate(resident, bytes, options);
    if (plain.status !== 'ok') return;
    const wanted = Buffer.from(plain.bytes);
    const ample = host.evaluateWithin(0xffff_ffff, resident, bytes, options);
    assert(ample.status === 'ok' && wanted.equals(ample.bytes), 'what is admitted is answered as ever');
    if (fuel < 2) return;
    refusedCount += 1;
    heaviest = Math.max(heaviest, fuel);
    // The body's own share is subtracted by the host: what is left for the kernel is one less than the fuel.
    const costMax = fuel - 1 + Math.floor(bytes.length / 8);
    expect(host.evaluateWithin(costMax, resident, bytes, options)).toEqual({ status: 'costly' });
  };
  const property = fc.asyncProperty(
    definitions,
    fc.array(fc.tuple(context, fc.constantFrom(1, 1, 3, 40, 200)), { minLength: 3, maxLength: 3 }),
    async (set, generated) => {
      const flagSet = parsedFlagSet(set);
      const { compiled } = compileSnapshot(flagSet, { environment: TEST_ENVIRONMENT, revision: 1 });
      assert(compiled !== undefined, 'the set compiles');
      const resident = await host.load(compiled.snapshot);
      try {
        const contexts = generated
          .map(([value, factor]) => inflated(value, factor))
          .filter((value) => isJson(value) && encodeMsgpack(value).length <= 32_768);
        const keys = [...flagSet.flags.keys()];
        let sum = 0;
        for (const value of contexts) {
          const fuel = fuelOf(flagSet, value, keys);
          sum += fuel;
          check(resident, 'evaluate', { context: value }, fuel);
          check(resident, 'evaluate', { flags: keys, context: value }, fuel);
          for (const key of keys) {
            check(resident, 'evaluate', { flags: key, context: value }, fuelOf(flagSet, value, [key]));
          }
        }
        check(resident, 'batch', { contexts, flags: keys }, sum);
        const requests = contexts.flatMap((value) => keys.map((flag) => ({ flag, context: value })));
        check(
          resident,
          'batch',
          { requests },
          contexts.reduce<number>((total, value) => {
            return total + keys.reduce((each, key) => each + fuelOf(flagSet, value, [key]), 0);
          }, 0),
        );
      } finally {
        host.release(resident);
      }
    },
  );
  await fc.assert(property, { numRuns: RUN_COUNT });
  console.log(`cost >= fuel: ${refusedCount} requests refused below their fuel, the heaviest took ${heaviest}`);
  expect(refusedCount).toBeGreaterThan(RUN_COUNT * 5);
});
