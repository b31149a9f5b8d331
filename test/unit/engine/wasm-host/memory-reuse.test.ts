import assert from 'node:assert/strict';
import {
  type CompiledSnapshot,
  compileSnapshot,
  encodeMsgpack,
  type ResidentSnapshot,
  SnapshotMemory,
} from '@guidon/engine';
import { type Json, parseEnvironmentRef } from '@guidon/protocol';
import { afterEach, describe, expect, it } from 'vitest';
import { aFlag, flagSetOf } from '../../../support/flag-sets.js';
import { BATCH, BODY, expectedOf, loadRevision, resultsOf } from '../../../support/revisions-in-memory.js';
import { TestThread } from '../../../support/test-thread.js';

/** Snapshots come and go while threads evaluate: memory returns to its start, and nothing that was freed is read. */
const SWAP_COUNT = 10_000;
/** Revisions that take turns; each brings a root and one block. */
const REVISION_COUNT = 7;
/** What is freed becomes this: an address or a length read from it lies beyond the memory, text is no UTF-8. */
const POISON = 0xf7;
const LONG_COUNT = 10_000;
/** Ten thousand searches for a pattern: some ten milliseconds and more. */
const LONG_BODY = encodeMsgpack({
  contexts: Array.from(
    { length: LONG_COUNT / 2 },
    (_, index): Json => ({ targetingKey: `u${index}`, mail: `b${'é'.repeat(40)}${index}` }),
  ),
  flags: ['f0', 'f5'],
});

const threads: TestThread[] = [];

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.end();
});

async function startThread(memory: SnapshotMemory): Promise<TestThread> {
  const thread = await TestThread.start(memory);
  threads.push(thread);
  return thread;
}

const poisonedMemory = (): Promise<SnapshotMemory> =>
  SnapshotMemory.create({ onFree: (freed) => void freed.fill(POISON) });

/** Swaps as an owner does: the next one is loaded, then the one before is released. */
class Swapper {
  current: ResidentSnapshot;
  revision = 1;
  readonly #memory: SnapshotMemory;

  private constructor(memory: SnapshotMemory, first: ResidentSnapshot) {
    this.#memory = memory;
    this.current = first;
  }

  static async start(memory: SnapshotMemory): Promise<Swapper> {
    return new Swapper(memory, await loadRevision(memory, 1));
  }

  async swap(): Promise<void> {
    const before = this.current;
    this.revision = (this.revision % REVISION_COUNT) + 1;
    this.current = await loadRevision(this.#memory, this.revision);
    this.#memory.release(before);
  }
}

const lastSnapshots = new Map<string, CompiledSnapshot>();

function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** 1 to 30 flags with values of 1 to 3 000 characters, half of them as the edition before had them. */
function compileRandom(name: string, edition: number, random: () => number): CompiledSnapshot {
  const flags = Array.from({ length: 1 + Math.floor(random() * random() * 30) }, (_, index) => {
    const value = `${random() < 0.5 ? '' : edition}`.padEnd(1 + Math.floor(random() ** 4 * 3_000), name);
    return aFlag(`f${index}`, {
      variations: [
        { key: 'no', value },
        { key: 'off', value: 'off' },
      ],
    });
  });
  const environment = parseEnvironmentRef({ tenantId: 't1', projectId: 'p1', environmentId: name });
  const { compiled, issues } = compileSnapshot(flagSetOf(flags), { environment, revision: edition });
  assert(compiled !== undefined, JSON.stringify(issues));
  lastSnapshots.set(name, compiled.snapshot);
  return compiled.snapshot;
}

async function longAnswerOf(thread: TestThread, resident: ResidentSnapshot): Promise<unknown> {
  return resultsOf(await thread.ask(resident, LONG_BODY, BATCH));
}

describe('10 000 swaps', { timeout: 120_000 }, () => {
  it('with all threads idle: memory is where it was, and each thread sees what is resident', async () => {
    const memory = await poisonedMemory();
    const idle = [await startThread(memory), await startThread(memory)];
    const swapper = await Swapper.start(memory);
    for (const thread of idle) expect(resultsOf(await thread.ask(swapper.current, BODY, BATCH))).toEqual(expectedOf(1));
    const start = memory.memoryUsage();
    for (let count = 1; count <= SWAP_COUNT; count += 1) {
      await swapper.swap();
      if (count % 1_000 !== 0) continue;
      for (const thread of idle) {
        expect(resultsOf(await thread.ask(swapper.current, BODY, BATCH))).toEqual(expectedOf(swapper.revision));
      }
    }
    while (swapper.revision !== 1) await swapper.swap();
    // As at the start: each thread has counted for the snapshot.
    for (const thread of idle) expect(resultsOf(await thread.ask(swapper.current, BODY, BATCH))).toEqual(expectedOf(1));
    expect(memory.memoryUsage()).toEqual(start);
  });

  it('with a thread inside long batches: they end on what they began with, and what they held is freed', async () => {
    const memory = await poisonedMemory();
    const thread = await startThread(memory);
    const expected = await expectedLongAnswers(memory, thread);
    const swapper = await Swapper.start(memory);
    const start = memory.memoryUsage();
    let mostRetired = 0;
    let batchCount = 0;
    for (let count = 0; count < SWAP_COUNT; ) {
      const { revision } = swapper;
      let isOver = false;
      const answer = longAnswerOf(thread, swapper.current).finally(() => {
        isOver = true;
      });
      for (; !isOver && count < SWAP_COUNT; count += 1) {
        await swapper.swap();
        mostRetired = Math.max(mostRetired, memory.memoryUsage().retiredCount);
      }
      expect(await answer).toEqual(expected.get(revision));
      batchCount += 1;
      expect(memory.memoryUsage().retiredCount).toBe(0);
    }
    while (swapper.revision !== 1) await swapper.swap();
    // What the last batch counted was still being written when its snapshot left: it is read with the next sweep.
    memory.sweepUsage();
    expect(memory.memoryUsage()).toMatchObject({ usedBytes: start.usedBytes, retiredCount: 0 });
    // Each swap of a batch waited for it; with one batch a swap this would have shown nothing.
    expect(mostRetired).toBeGreaterThan(10);
    expect(batchCount).toBeLessThan(SWAP_COUNT / 10);
  });

  it('with a thread ended in the middle of a call: nothing is freed before it has exited, everything after', async () => {
    const memory = await poisonedMemory();
    const survivor = await startThread(memory);
    const swapper = await Swapper.start(memory);
    expect(resultsOf(await survivor.ask(swapper.current, BODY, BATCH))).toEqual(expectedOf(1));
    const start = memory.memoryUsage();
    const victim = await TestThread.start(memory);
    const ended = victim.start(swapper.current, LONG_BODY, BATCH).catch(() => 'never answered');
    for (let count = 0; count < 20; count += 1) await swapper.swap();
    expect(memory.memoryUsage().retiredCount).toBeGreaterThanOrEqual(40);
    await victim.terminate();
    expect(memory.memoryUsage().retiredCount).toBeGreaterThanOrEqual(40);
    memory.closeThread(victim.handle);
    expect(memory.memoryUsage().retiredCount).toBe(0);
    for (let count = 0; count < SWAP_COUNT; count += 1) await swapper.swap();
    expect(resultsOf(await survivor.ask(swapper.current, BODY, BATCH))).toEqual(expectedOf(swapper.revision));
    while (swapper.revision !== 1) await swapper.swap();
    expect(resultsOf(await survivor.ask(swapper.current, BODY, BATCH))).toEqual(expectedOf(1));
    expect(memory.memoryUsage()).toMatchObject({ usedBytes: start.usedBytes, retiredCount: 0 });
    await Promise.race([ended, Promise.resolve()]); // the message of an ended worker never comes
  });
});

/** By revision, each from a memory in which nothing was ever freed. */
async function expectedLongAnswers(memory: SnapshotMemory, thread: TestThread): Promise<ReadonlyMap<number, unknown>> {
  const answers = new Map<number, unknown>();
  const residents: ResidentSnapshot[] = [];
  for (let revision = 1; revision <= REVISION_COUNT; revision += 1) {
    const resident = await loadRevision(memory, revision);
    residents.push(resident);
    answers.set(revision, await longAnswerOf(thread, resident));
  }
  for (const resident of residents) memory.release(resident);
  return answers;
}

describe('a memory in which 1 000 environments change at random', () => {
  // Deep: 100 000 revisions. Each environment keeps its newest revision; in the end all but the first ones are given up.
  const isDeep = process.env.GUIDON_DEEP === '1';
  const [environmentCount, revisionCount] = isDeep ? [1_000, 100_000] : [200, 5_000];
  // About four times what they need.
  const memoryBytesMax = (isDeep ? 80 : 16) * 1024 * 1024;

  it('has at least 95 % of the pages free that a fresh one has', async () => {
    const random = randomOf(5);
    const memory = await SnapshotMemory.create({ memoryBytesMax });
    const snapshots = new Map<string, ResidentSnapshot>();
    const put = async (environment: number, edition: number): Promise<void> => {
      const name = `e${environment}`;
      const resident = await memory.load(compileRandom(name, edition, random));
      const before = snapshots.get(name);
      snapshots.set(name, resident);
      if (before !== undefined) memory.release(before);
    };
    for (let count = 1; count <= revisionCount; count += 1) await put(Math.floor(random() * environmentCount), count);
    const fresh = await SnapshotMemory.create({ memoryBytesMax });
    for (const snapshot of lastSnapshots.values()) await fresh.load(snapshot);
    // What is in use differs only by what is scattered over pages that are not full.
    const { usedBytes, totalBytes, freeBytes } = memory.memoryUsage();
    const freshUsage = fresh.memoryUsage();
    expect(usedBytes).toBe(freshUsage.usedBytes);
    const freePages = freeBytes + (memoryBytesMax - totalBytes);
    const freshFreePages = freshUsage.freeBytes + (memoryBytesMax - freshUsage.totalBytes);
    expect(freePages / freshFreePages).toBeGreaterThanOrEqual(0.95);
    for (const resident of snapshots.values()) memory.release(resident);
    expect(memory.memoryUsage()).toMatchObject({ usedBytes: (await SnapshotMemory.create()).memoryUsage().usedBytes });
    lastSnapshots.clear();
  }, 600_000);
});
