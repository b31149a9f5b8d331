import assert from 'node:assert/strict';
import { compileSnapshot, type Definition, encodeJsonRequest, KernelHost } from '@guidon/engine';
import { FLAG_FUEL, REQUEST_LIMITS } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';

/** A flag that spends exactly `cost` over { one: 1 }. */
function costing(key: string, cost: number, prerequisites: readonly string[] = []): Definition {
  const charged = prerequisites.length * 4;
  return aFlag(key, {
    prerequisites: prerequisites.map((flag) => ({ flag, variations: ['no'] })),
    rules: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].map((index) => ({
      id: `r${index}`,
      when: { attribute: 'one', op: 'lt', values: Array.from({ length: (cost - charged) / 10 - 1 }, () => -1) },
      serve: { variation: 'off' },
    })),
  });
}

const FULL = FLAG_FUEL - 50_000;
const context = { one: 1 };
const REFUSED = {
  status: 'limit-exceeded',
  detail: 'the evaluation costs more than 2000000: ask for fewer flags or contexts',
};

describe('fuel of a request', async () => {
  const host = await KernelHost.create();
  const load = async (definitions: readonly Definition[]) => {
    const { compiled, issues } = compileSnapshot(flagSetOf(definitions), {
      environment: TEST_ENVIRONMENT,
      revision: 1,
    });
    assert(compiled !== undefined, JSON.stringify(issues));
    return host.load(compiled.snapshot);
  };
  const resident = await load([costing('full', FULL), costing('ten', 10 + 10), aFlag('free')]);
  const ask = (body: unknown, route: 'evaluate' | 'batch' = 'batch', on = resident) =>
    host.evaluate(on, encodeJsonRequest(body), { route, now: 0, clientSideOnly: false });
  const contexts = Array.from({ length: REQUEST_LIMITS.fuelPerRequest / FULL }, () => context);

  it('may be spent to the last unit, and one evaluation more refuses the request', () => {
    expect(ask({ flags: ['full'], contexts }).status).toBe('ok');
    expect(ask({ flags: ['full', 'free'], contexts }).status).toBe('ok');
    expect(ask({ flags: ['full'], contexts: [...contexts, context] })).toEqual(REFUSED);
    const requests = contexts.map((each) => ({ flag: 'full', context: each }));
    expect(ask({ requests }).status).toBe('ok');
    for (const more of ['ten', 'full']) {
      const entry = { flag: more, context };
      // The same whatever the order (the dear ones first, last, or around it).
      expect(ask({ requests: [...requests, entry] })).toEqual(REFUSED);
      expect(ask({ requests: [entry, ...requests] })).toEqual(REFUSED);
      expect(ask({ requests: [...requests.slice(0, 9), entry, ...requests.slice(9)] })).toEqual(REFUSED);
    }
  });

  it('is far above what many flags for many contexts cost', async () => {
    const clauses = ['in', 'startsWith', 'contains', 'matches'] as const;
    const rules = Array.from({ length: 5 }, (_, index) => ({
      id: `r${index}`,
      when: { any: clauses.map((op) => ({ attribute: 'email', op, values: ['x', 'y', 'z'] })) },
      serve: { variation: 'off' },
    }));
    const many = await load(Array.from({ length: 200 }, (_, index) => aFlag(`f${index}`, { rules })));
    const flags = Array.from({ length: 200 }, (_, index) => `f${index}`);
    const people = Array.from({ length: 10 }, () => ({ email: 'a.name@some-company.example' }));
    expect(ask({ flags, contexts: people }, 'batch', many).status).toBe('ok');
    host.release(many);
  });

  it('starts anew with each request', () => {
    expect(ask({ flags: ['full'], contexts: [...contexts, context] })).toEqual(REFUSED);
    expect(ask({ flags: ['full'], context }, 'evaluate').status).toBe('ok');
    expect(ask({ flags: ['full'], contexts }).status).toBe('ok');
  });

  it('counts a flag that is asked twice for one context once', () => {
    const flags = Array.from({ length: 100 }, () => 'full');
    expect(ask({ flags, context }, 'evaluate').status).toBe('ok');
  });

  it('counts prerequisites, each once, and all visible flags', async () => {
    const keys = Array.from({ length: 32 }, (_, index) => `p${index}`);
    const within = keys.slice(0, 20);
    const required = await load([
      ...keys.map((key) => costing(key, FULL * 2 - 1_000)),
      costing('within', 80 + 20, within),
      costing('beyond', 128 + 12, keys),
    ]);
    expect(ask({ flags: ['within', ...within], context }, 'evaluate', required).status).toBe('ok');
    expect(ask({ flags: [...within, 'within'], context }, 'evaluate', required).status).toBe('ok');
    expect(ask({ flags: 'beyond', context }, 'evaluate', required)).toEqual(REFUSED);
    expect(ask({ context }, 'evaluate', required)).toEqual(REFUSED);
    expect(ask({ flags: 'p0', context }, 'evaluate', required).status).toBe('ok');
    host.release(required);
  });

  it('is spent by long texts: a flag that took seconds ends with GENERAL', async () => {
    const values = Array.from({ length: 10_000 }, (_, index) => `abaaa${index}`);
    const rules = [{ id: 'r', when: { attribute: 's', op: 'contains', values } as const, serve: { variation: 'yes' } }];
    const slow = await load([aFlag('slow', { rules })]);
    const answer = ask({ flags: ['slow'], contexts: [{ s: 'a'.repeat(31_000) }] }, 'batch', slow);
    assert(answer.status === 'ok', answer.status);
    expect(Buffer.from(answer.bytes).includes('GENERAL')).toBe(true);
    host.release(slow);
  });
});
