import assert from 'node:assert/strict';
import {
  compileSnapshot,
  type Definition,
  decodeStrictMsgpack,
  type EvaluateOptions,
  encodeMsgpack,
  KernelHost,
  type ResidentSnapshot,
  type RevisionUsage,
  SnapshotMemory,
} from '@guidon/engine';
import { THREAD } from '@guidon/engine/compile/thread-layout.js';
import type { Json } from '@guidon/protocol';
import { describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { TEST_ENVIRONMENT } from '../../../support/kernel-evaluator.js';
import { TestThread } from '../../../support/test-thread.js';

/** The kernel counts what it answers; the owner reads differences (docs/adr/0018). */
const EVALUATE = { route: 'evaluate', now: 0, clientSideOnly: false } as const;
const BATCH = { route: 'batch', now: 0, clientSideOnly: false } as const;
const isDeep = process.env.GUIDON_DEEP === '1';

function load(
  host: { load: KernelHost['load'] },
  flags: readonly Definition[],
  revision = 1,
): Promise<ResidentSnapshot> {
  const { compiled, issues } = compileSnapshot(flagSetOf(flags), { environment: TEST_ENVIRONMENT, revision });
  assert(compiled !== undefined, JSON.stringify(issues));
  return host.load(compiled.snapshot);
}

const split = aFlag('split', {
  fallthrough: {
    rollout: {
      weights: [
        { variation: 'no', weight: 50_000 },
        { variation: 'off', weight: 50_000 },
      ],
    },
  },
});
const after = aFlag('after', { prerequisites: [{ flag: 'split', variations: ['no'] }] });
const byCountry = aFlag('by-country', {
  rules: [{ id: 'r', when: { attribute: 'country', op: 'in', values: ['DE'] }, serve: { variation: 'off' } }],
});
const large = aFlag('large', {
  type: 'string',
  variations: [
    { key: 'no', value: 'x'.repeat(30_000) },
    { key: 'off', value: '' },
  ],
});
const FLAGS = [split, after, byCountry, large];

/** What an answer says, as counters: "flag/variation" or "flag/CODE", unknown flags without their name. */
function tallyOf(bytes: Uint8Array, into: Map<string, number>): void {
  const decoded = decodeStrictMsgpack(Uint8Array.from(bytes));
  assert(decoded.ok, 'answers are well-formed');
  const body = decoded.value as { results?: Result[] } & Result;
  for (const { flag, variation, errorCode } of body.results ?? [body]) {
    const isKnown = FLAGS.some(({ key }) => key === flag) && errorCode !== 'INVALID_CONTEXT';
    const name = isKnown ? `${flag}/${variation ?? errorCode}` : `?/${errorCode}`;
    into.set(name, (into.get(name) ?? 0) + 1);
  }
}
interface Result {
  readonly flag: string;
  readonly variation?: string;
  readonly errorCode?: string;
}

function countsOf(usages: readonly RevisionUsage[]): Map<string, number> {
  const counts = new Map<string, number>();
  const add = (name: string, count: number): void => {
    if (count > 0) counts.set(name, (counts.get(name) ?? 0) + count);
  };
  for (const { flags, unknown } of usages) {
    for (const [code, count] of Object.entries(unknown)) add(`?/${code}`, count);
    for (const { flag, variations, errors } of flags) {
      for (const [key, count] of Object.entries(variations)) add(`${flag}/${key}`, count);
      for (const [code, count] of Object.entries(errors)) add(`${flag}/${code}`, count);
    }
  }
  return counts;
}

const sorted = (counts: ReadonlyMap<string, number>) => [...counts].sort(([a], [b]) => (a < b ? -1 : 1));
const contexts = Array.from({ length: 40 }, (_, index) => ({
  targetingKey: `user-${index}`,
  ...(index % 3 === 0 ? { country: 'DE' } : {}),
}));

describe('usage', () => {
  it('counts each result once, whatever was asked how: one, many, batches, unknown flags, bad contexts, answers in JSON', async () => {
    const host = await KernelHost.create();
    const resident = await load(host, FLAGS);
    const expected = new Map<string, number>();
    const ask = (body: unknown, options: EvaluateOptions): void => {
      const answer = host.evaluate(resident, encodeMsgpack(body as Json), options);
      assert(answer.status === 'ok', JSON.stringify(answer));
      tallyOf(answer.bytes, expected);
    };
    for (const context of contexts) {
      ask({ flags: 'split', context }, EVALUATE);
      // `after` is evaluated over `split`, which gives no result of its own.
      ask({ flags: 'after', context }, EVALUATE);
    }
    ask({ flags: ['by-country', 'nobody', 'after', 'after'], context: contexts[0] }, EVALUATE);
    // Answers that do not fit at first are asked for again: they count once.
    ask({ contexts, flags: ['large', 'split', 'missing'] }, BATCH);
    ask({ requests: [{ flag: 'split', context: 5 }, { flag: 'split' }, { context: {} }, 7] }, BATCH);
    ask({ flags: 'split', context: {} }, EVALUATE);
    ask({ flags: ['split', 'after'], context: { kind: 5 } }, EVALUATE);
    host.memory.sweepUsage();
    const drained = host.memory.usage.drain(TEST_ENVIRONMENT);
    expect(drained.map(({ revision }) => revision)).toEqual([1]);
    expect(sorted(countsOf(drained))).toEqual(sorted(expected));
    const total = [...expected.values()].reduce((sum, count) => sum + count, 0);
    expect(host.memory.usage.evaluationsOf(TEST_ENVIRONMENT)).toBe(total);
    // Nothing twice.
    host.memory.sweepUsage();
    expect(host.memory.usage.drain(TEST_ENVIRONMENT)).toEqual([]);
    expect(host.memory.usage.evaluationsOf(TEST_ENVIRONMENT)).toBe(total);
  });

  it('forgets what a snapshot has answered with it where nobody asks for that', async () => {
    const host = await KernelHost.create({ keepsUsage: false });
    const resident = await load(host, FLAGS);
    const body = encodeMsgpack({ flags: 'split', context: { targetingKey: 'user' } });
    expect(host.evaluate(resident, body, EVALUATE).status).toBe('ok');
    const other = await load(host, FLAGS);
    const { usedBytes } = host.memoryUsage();
    host.release(resident);
    expect(host.memoryUsage().usedBytes).toBeLessThan(usedBytes);
    host.memory.sweepUsage();
    expect(host.memory.usage.drain(TEST_ENVIRONMENT)).toEqual([]);
    expect(host.evaluate(other, body, EVALUATE).status).toBe('ok');
  });

  it('counts all visible flags, and those that a bad context or a call given up answers with an error', async () => {
    const host = await KernelHost.create();
    const resident = await load(host, FLAGS);
    const ask = (context: Json, options: EvaluateOptions): RevisionUsage[] => {
      expect(host.evaluate(resident, encodeMsgpack({ context }), options).status).toBe('ok');
      host.memory.sweepUsage();
      return host.memory.usage.drain(TEST_ENVIRONMENT);
    };
    const served = ask({ targetingKey: 'u' }, EVALUATE)[0]?.flags ?? [];
    expect(served.map(({ flag }) => flag)).toEqual(['after', 'by-country', 'large', 'split']);
    const bad = ask({ kind: 7 }, EVALUATE)[0]?.flags ?? [];
    expect(bad.map(({ errors }) => errors)).toEqual(FLAGS.map(() => ({ INVALID_CONTEXT: 1 })));
    const givenUp = ask({ targetingKey: 'u' }, { ...EVALUATE, isGivenUp: true })[0]?.flags ?? [];
    expect(givenUp.map(({ errors }) => errors)).toEqual(FLAGS.map(() => ({ GENERAL: 1 })));
  });

  it('counts nothing of a call that is refused, in whole or after a part of it', async () => {
    const host = await KernelHost.create();
    const resident = await load(host, FLAGS);
    const refused = [
      { body: { flags: 'split', context: {}, minRevision: 9 }, options: EVALUATE },
      { body: { flags: ['split', 7], context: {} }, options: EVALUATE },
      // 40 answers of 30 KB, 30 times: more than an answer may have.
      { body: { contexts, flags: Array.from({ length: 30 }, () => 'large') }, options: BATCH },
    ];
    for (const { body, options } of refused) {
      expect(host.evaluate(resident, encodeMsgpack(body), options).status).not.toBe('ok');
    }
    expect(host.evaluateWithin(2, resident, encodeMsgpack({ contexts, flags: ['split'] }), BATCH).status).toBe(
      'costly',
    );
    host.memory.sweepUsage();
    expect(host.memory.usage.drain(TEST_ENVIRONMENT)).toEqual([]);
  });

  it('is read before a released snapshot leaves, takes no memory afterwards, and stays bounded when nobody drains', async () => {
    const host = await KernelHost.create();
    const first = await load(host, FLAGS);
    const usedBytes = host.memoryUsage().usedBytes;
    const body = encodeMsgpack({ flags: 'by-country', context: {} });
    let before = first;
    for (let revision = 2; revision < 30; revision += 1) {
      host.evaluate(before, body, EVALUATE);
      const next = await load(host, FLAGS, revision);
      host.release(before);
      before = next;
    }
    expect(host.memoryUsage().usedBytes).toBe(usedBytes);
    expect(host.memory.usage.evaluationsOf(TEST_ENVIRONMENT)).toBe(28);
    expect(host.memory.usage.undrainedOf(TEST_ENVIRONMENT)).toBe(12);
    const drained = host.memory.usage.drain(TEST_ENVIRONMENT);
    expect(drained.map(({ revision }) => revision)).toEqual(Array.from({ length: 16 }, (_, index) => index + 13));
    expect([...countsOf(drained).values()]).toEqual([16]);
  });

  it('of a snapshot that leaves and comes back is that of one revision, however often', async () => {
    const host = await KernelHost.create();
    const one = encodeMsgpack({ flags: 'by-country', context: {} });
    const many = encodeMsgpack({ flags: ['by-country', 'split', 'none'], context: { country: 'DE' } });
    for (let count = 0; count < 20; count += 1) {
      const resident = await load(host, FLAGS);
      host.evaluate(resident, count % 2 === 0 ? one : many, EVALUATE);
      host.release(resident);
    }
    expect(host.memory.usage.undrainedOf(TEST_ENVIRONMENT)).toBe(0);
    const drained = host.memory.usage.drain(TEST_ENVIRONMENT);
    expect(drained).toHaveLength(1);
    expect(sorted(countsOf(drained))).toEqual([
      ['?/FLAG_NOT_FOUND', 10],
      ['by-country/no', 10],
      ['by-country/off', 10],
      ['split/TARGETING_KEY_MISSING', 10],
    ]);
  });

  it('counters wrap around without losing anything', async () => {
    const memory = await SnapshotMemory.create();
    const resident = await load(memory, FLAGS);
    const handle = memory.openThread();
    const call = memory.assign(handle, resident, encodeMsgpack({ flags: 'split', context: {} }), EVALUATE);
    assert(!('status' in call), 'it is accepted');
    // Four billion results take too long: the test is the thread and writes its counter.
    const words = new Uint32Array(handle.memory.buffer);
    const counter = (words[(handle.threadAddress + THREAD.usage) / 4] ?? 0) / 4;
    words[counter] = 0xffff_fff0;
    memory.sweepUsage();
    expect(memory.usage.evaluationsOf(TEST_ENVIRONMENT)).toBe(0xffff_fff0);
    words[counter] = 5;
    memory.sweepUsage();
    expect(memory.usage.evaluationsOf(TEST_ENVIRONMENT)).toBe(0xffff_fff0 + 21);
    // It ends in the middle of its call: what it counted since the last sweep is lost.
    words[counter] = 9;
    memory.closeThread(handle);
    expect([memory.usage.evaluationsOf(TEST_ENVIRONMENT), memory.usage.lost]).toEqual([0xffff_fff0 + 21, 4]);
  });
});

describe('a thread that is in a call whenever it is swept', () => {
  it('gives up its counters of released snapshots with its next call', async () => {
    const memory = await SnapshotMemory.create();
    const handle = memory.openThread();
    const body = encodeMsgpack({ flags: 'split', context: {} });
    // The test is the thread: its calls end when it says so.
    const words = new Uint32Array(handle.memory.buffer);
    let resident = await load(memory, FLAGS);
    const used: number[] = [];
    for (let revision = 2; revision < 40; revision += 1) {
      assert(!('status' in memory.assign(handle, resident, body, EVALUATE)), 'it is accepted');
      const next = await load(memory, FLAGS, revision);
      memory.release(resident);
      memory.sweepUsage();
      used.push(memory.memoryUsage().usedBytes);
      Atomics.store(words, handle.epochSlot / 4, 0);
      resident = next;
    }
    expect(new Set(used.slice(2))).toEqual(new Set([used[2]]));
    memory.closeThread(handle);
  });
});

describe('usage of several threads', () => {
  it('four threads, swaps between their calls, one killed: exact but for its last call', {
    timeout: isDeep ? 3_600_000 : 600_000,
  }, async () => {
    const memory = await SnapshotMemory.create();
    const batch = encodeMsgpack({
      contexts: Array.from({ length: 5_000 }, (_, index) => ({ targetingKey: `user-${index}` })),
      flags: ['split', 'by-country'],
    });
    const callCount = isDeep ? 1_000 : 12;
    const threads = await Promise.all(Array.from({ length: 4 }, () => TestThread.start(memory)));
    let revision = 1;
    let resident = await load(memory, FLAGS, revision);
    const answered = new Map<number, number>();
    const drained: RevisionUsage[] = [];
    let isRunning = true;
    const run = async (thread: TestThread, count: number): Promise<void> => {
      for (let call = 0; call < count; call += 1) {
        const held = resident;
        const answer = await thread.ask(held, batch, BATCH);
        assert(answer.status === 'ok', JSON.stringify(answer));
        answered.set(held.revision, (answered.get(held.revision) ?? 0) + 1);
      }
    };
    // The first call makes room for the answer: it may be asked for twice, of one snapshot.
    await Promise.all(threads.map((thread) => run(thread, 1)));
    const swaps = (async () => {
      while (isRunning) {
        revision += 1;
        const next = await load(memory, FLAGS, revision);
        const before = resident;
        resident = next;
        // Calls on it may be running.
        memory.release(before);
        memory.sweepUsage();
        drained.push(...memory.usage.drain(TEST_ENVIRONMENT));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    })();
    await Promise.all(threads.map((thread, index) => run(thread, (index === 3 ? callCount / 2 : callCount) - 1)));
    isRunning = false;
    await swaps;
    memory.sweepUsage();
    const [, , , killed] = threads;
    assert(killed !== undefined, 'there are four');
    void killed.start(resident, batch, BATCH).catch(() => undefined);
    await killed.end();
    for (const thread of threads.slice(0, 3)) await thread.end();
    memory.release(resident);
    drained.push(...memory.usage.drain(TEST_ENVIRONMENT));

    const calls = [...answered.values()].reduce((sum, count) => sum + count, 0);
    expect(calls).toBe(callCount * 3.5);
    const { lost } = memory.usage;
    const total = memory.usage.evaluationsOf(TEST_ENVIRONMENT);
    // The killed call may have ended before it was killed; else what it had counted is lost.
    expect([calls * 10_000, calls * 10_000 + 10_000]).toContain(total);
    expect(lost).toBeGreaterThanOrEqual(0);
    expect(lost).toBeLessThanOrEqual(total === calls * 10_000 ? 10_000 : 0);
    const counts = countsOf(drained);
    const sum = (prefix: string) =>
      [...counts].filter(([name]) => name.startsWith(prefix)).reduce((all, [, count]) => all + count, 0);
    expect([sum('split/'), sum('by-country/')]).toEqual([total / 2, total / 2]);
    const ofRevision = (wanted: number) => countsOf(drained.filter((usage) => usage.revision === wanted));
    for (const [each, count] of answered) {
      if (each === revision) continue;
      expect([each, ofRevision(each).get('by-country/no')]).toEqual([each, count * 5_000]);
    }
    expect(memory.memoryUsage().retiredCount).toBe(0);
  });
});
