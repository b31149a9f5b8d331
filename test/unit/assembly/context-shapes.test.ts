import assert from 'node:assert/strict';
import { compileSnapshot, decodeStrictMsgpack, encodeMsgpack, type KernelHost, type Result } from '@guidon/engine';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../support/flag-sets.js';
import { TEST_ENVIRONMENT, testHost } from '../../support/kernel-evaluator.js';

// Some are attributes that flags ask for; around the 30 bytes that a shape remembers, and with one first half.
const ASKED = ['country', 'targetingKey', 'a', 'x'.repeat(30), 'x'.repeat(31), `${'x'.repeat(15)}y`];
const NAMES = [...ASKED, 'kind', 'other', 'b', '', 'é', 'x'.repeat(29), 'x'.repeat(32), `${'x'.repeat(15)}z`];

function chooser(seed: number): (count: number) => number {
  let state = seed;
  return (count) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * count);
  };
}

/** `{context: {…}}` with these members in this order, as encodeMsgpack writes each part. */
function bodyOf(members: readonly (readonly [name: string, value: string])[]): Uint8Array {
  const parts = members.flatMap(([name, value]) => [encodeMsgpack(name), encodeMsgpack(value)]);
  const head = members.length < 16 ? [0x80 | members.length] : [0xde, 0, members.length];
  return Buffer.concat([[0x81], encodeMsgpack('context'), head, ...parts].map((part) => Uint8Array.from(part)));
}

/** One flag per asked attribute: on when it has the value `yes`. */
function setOf(): ReturnType<typeof flagSetOf> {
  return flagSetOf(
    ASKED.map((attribute, index) =>
      aFlag(`flag-${index}`, {
        rules: [{ id: 'r', when: { attribute, op: 'in', values: ['yes'] }, serve: { variation: 'yes' } }],
      }),
    ),
  );
}

function servedIn(
  host: KernelHost,
  resident: Parameters<KernelHost['evaluate']>[0],
  body: Uint8Array,
): boolean[] | string {
  const answer = host.evaluate(resident, body, { route: 'evaluate', now: 0, clientSideOnly: false });
  if (answer.status !== 'ok') return answer.status;
  const decoded = decodeStrictMsgpack(answer.bytes);
  assert(decoded.ok, 'answers are well-formed');
  return (decoded.value as { results: Result[] }).results.map(
    (result) => 'variation' in result && result.variation === 'yes',
  );
}

describe('the kernel remembers the names of contexts', () => {
  it('and still sees each name twice, and each value in its place, whatever the context before was like', async () => {
    const { compiled } = compileSnapshot(setOf(), { environment: TEST_ENVIRONMENT, revision: 1 });
    assert(compiled !== undefined, 'the set compiles');
    const host = await testHost();
    const resident = await host.load(compiled.snapshot);
    const choose = chooser(7);
    const seen = { malformed: 0, answered: 0 };
    let order = [...NAMES];
    for (let round = 0; round < 6_000; round += 1) {
      // Most contexts are like the one before; some differ in one place, some have more members than a shape.
      if (choose(4) === 0) order = order.map((name) => (choose(8) === 0 ? (NAMES[choose(NAMES.length)] ?? '') : name));
      if (choose(20) === 0) order = NAMES.map(() => NAMES[choose(NAMES.length)] ?? '').slice(choose(NAMES.length));
      if (choose(20) === 0)
        order = [...NAMES.slice(choose(4)), ...Array.from({ length: 8 }, (_, index) => `more-${index}`)];
      const names = choose(3) === 0 ? order : [...new Set(order)];
      const members = names.map((name) => [name, name === 'kind' ? 'user' : choose(2) === 0 ? 'yes' : ''] as const);
      const body = bodyOf(members);
      const isWellFormed = new Set(names).size === names.length;
      expect(decodeStrictMsgpack(body).ok).toBe(isWellFormed);
      const wanted = ASKED.map((name) => members.some(([each, value]) => each === name && value === 'yes'));
      expect(servedIn(host, resident, body), JSON.stringify(members)).toEqual(isWellFormed ? wanted : 'malformed-body');
      if (isWellFormed) seen.answered += 1;
      else seen.malformed += 1;
    }
    host.release(resident);
    expect(seen.malformed).toBeGreaterThan(500);
    expect(seen.answered).toBeGreaterThan(2_000);
  });

  it('and sees a name twice that it knows in both places', async () => {
    const { compiled } = compileSnapshot(setOf(), { environment: TEST_ENVIRONMENT, revision: 1 });
    assert(compiled !== undefined, 'the set compiles');
    const host = await testHost();
    const resident = await host.load(compiled.snapshot);
    const ask = (...names: string[]): boolean[] | string =>
      servedIn(host, resident, bodyOf(names.map((name) => [name, ''])));
    for (const name of ['b', 'a', 'other', 'kind-of']) {
      expect(ask('first', name, 'third')).not.toBe('malformed-body');
      expect(ask(name)).not.toBe('malformed-body');
      expect(ask(name, name)).toBe('malformed-body');
      expect(ask('first', name, 'third')).not.toBe('malformed-body');
      expect(ask('first', 'second', 'first')).toBe('malformed-body');
      expect(ask('first', 'second', 'first')).toBe('malformed-body');
    }
    host.release(resident);
  });
});
