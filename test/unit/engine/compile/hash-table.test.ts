import { compileSnapshot } from '@guidon/engine';
import { hashTableOf, PROBES_MAX } from '@guidon/engine/compile/hash-table.js';
import { nameHash } from '@guidon/engine/compile/name-hash.js';
import { LIMITS } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';

const hashesOf = (names: readonly string[]) => names.map((name) => nameHash(Buffer.from(name)));
const entriesOf = (hashes: readonly number[]) => hashes.map((hash, index) => ({ hash, index }));

/** Names that only differ between their first, middle and last 8 bytes. */
const inBetween = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => {
    return `aaaaaaaa${String(from + index).padStart(12, '0')}mmmmmmmm${'x'.repeat(12)}zzzzzzzz`;
  });

/** Flags that ask for these attributes, 50 in each rule. */
function flagsOf(names: readonly string[]) {
  const perFlag = LIMITS.rulesPerFlag * LIMITS.clausesPerRule;
  return Array.from({ length: Math.ceil(names.length / perFlag) }, (_, flag) => {
    const mine = names.slice(flag * perFlag, (flag + 1) * perFlag);
    const rules = Array.from({ length: Math.ceil(mine.length / 50) }, (_each, rule) => ({
      id: `r${rule}`,
      when: {
        all: mine
          .slice(rule * 50, rule * 50 + 50)
          .map((attribute) => ({ attribute, op: 'exists', values: [true] }) as const),
      },
      serve: { variation: 'yes' },
    }));
    return aFlag(`f${flag}`, { rules });
  });
}

describe('nameHash()', () => {
  it('depends on every byte and on the length', () => {
    for (let length = 0; length < 40; length += 1) {
      const name = Buffer.alloc(length, 'a');
      const hashes = new Set([nameHash(name), nameHash(Buffer.alloc(length + 1, 'a'))]);
      for (let at = 0; at < length; at += 1) {
        const other = Buffer.from(name);
        other[at] = 'b'.charCodeAt(0);
        hashes.add(nameHash(other));
      }
      expect(hashes.size).toBe(length + 2);
    }
    expect(new Set(hashesOf(inBetween(10_000))).size).toBeGreaterThan(9_990);
  });
});

describe('hashTableOf()', () => {
  it('has a walk of at most 64 places for any number of ordinary names', () => {
    for (const count of [0, 1, 2, 100, 5_000, LIMITS.slotsPerEnvironment]) {
      const table = hashTableOf(entriesOf(hashesOf(inBetween(count))));
      expect(table.filter((entry) => entry !== 0).length).toBe(count);
      expect(table.length).toBeLessThanOrEqual(Math.max(16, count * 24));
    }
  });

  it('takes a larger table where names crowd, also around the end', () => {
    const crowded = Array.from({ length: PROBES_MAX + 10 }, (_, index) => 0x7f + index * 0x80);
    const table = hashTableOf(entriesOf(crowded));
    expect(table.length).toBeGreaterThan(128);
  });

  it('refuses names that have one hash, from the first too many on', () => {
    expect(() => hashTableOf(entriesOf(Array.from({ length: PROBES_MAX }, () => 7)))).not.toThrow();
    expect(() => hashTableOf(entriesOf(Array.from({ length: PROBES_MAX + 1 }, () => 7)))).toThrow('the same hash');
  });
});

describe('compileSnapshot()', () => {
  it('bounds the attributes of an environment', () => {
    const compile = (count: number) =>
      compileSnapshot(flagSetOf(flagsOf(inBetween(count))), { environment: TEST_ENVIRONMENT, revision: 1 });
    // The kind `user` is a slot too.
    expect(compile(LIMITS.slotsPerEnvironment - 1).issues).toEqual([]);
    const { compiled, issues } = compile(LIMITS.slotsPerEnvironment);
    expect(compiled).toBeUndefined();
    expect(issues).toMatchObject([{ code: 'limit-exceeded', detail: expect.stringContaining('20000') }]);
  });
});
