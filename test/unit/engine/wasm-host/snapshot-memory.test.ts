import assert from 'node:assert/strict';
import { encodeMsgpack, type KernelAnswer, SnapshotMemory } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { afterEach, describe, expect, it } from 'vitest';
import { BATCH, BODY, expectedOf, loadRevision, resultsOf } from '../../../support/revisions-in-memory.js';
import { TestThread } from '../../../support/test-thread.js';

const threads: TestThread[] = [];

afterEach(async () => {
  for (const thread of threads.splice(0)) await thread.end();
});

async function startThread(memory: SnapshotMemory): Promise<TestThread> {
  const thread = await TestThread.start(memory);
  threads.push(thread);
  return thread;
}

describe('KernelThread.evaluate()', () => {
  it('answers like the reference in another thread, also after the memory has grown', async () => {
    const memory = await SnapshotMemory.create();
    const thread = await startThread(memory);
    const first = await loadRevision(memory, 1);
    expect(resultsOf(await thread.ask(first, BODY, BATCH))).toEqual(expectedOf(1));
    const before = memory.memoryUsage().totalBytes;
    const more = [await startThread(memory), await startThread(memory), await startThread(memory)];
    expect(memory.memoryUsage().totalBytes).toBeGreaterThan(before);
    const second = await loadRevision(memory, 2);
    for (const one of [thread, ...more]) {
      expect(resultsOf(await one.ask(second, BODY, BATCH))).toEqual(expectedOf(2));
      expect(resultsOf(await one.ask(first, BODY, BATCH))).toEqual(expectedOf(1));
    }
  });

  it('gets a larger answer region when its own is full', async () => {
    const memory = await SnapshotMemory.create();
    const thread = await startThread(memory);
    const resident = await loadRevision(memory, 1);
    const body = encodeMsgpack({ contexts: new Array<Json>(3_000).fill({ targetingKey: 'u' }), flags: ['f0', 'f1'] });
    const answer = await thread.ask(resident, body, BATCH);
    assert(answer.status === 'ok', answer.status);
    expect(answer.bytes.length).toBeGreaterThan(64 * 1024);
    expect(answer.evaluations).toBe(6_000);
  });

  it('says what is wrong with a body, as the thread of the owner does', async () => {
    const memory = await SnapshotMemory.create();
    const thread = await startThread(memory);
    const resident = await loadRevision(memory, 1);
    const evaluate = { route: 'evaluate', now: 0, clientSideOnly: false } as const;
    const ask = (body: Uint8Array): Promise<KernelAnswer> => thread.ask(resident, body, evaluate);
    expect(await ask(Uint8Array.of(0x81, 0xa1, 0xff, 0xc0))).toEqual({
      status: 'malformed-body',
      detail: 'a string is not well-formed UTF-8 at byte 1',
    });
    expect(await ask(encodeMsgpack({ flagz: 1, context: {} }))).toMatchObject({ pointer: '/flagz' });
    expect(await ask(encodeMsgpack({ context: {}, minRevision: 5 }))).toEqual({
      status: 'revision-behind',
      minRevision: 5,
    });
    const tooLong = memory.assign(thread.handle, resident, new Uint8Array(65_537), evaluate);
    expect(tooLong).toMatchObject({ status: 'payload-too-large' });
  });
});

describe('SnapshotMemory', () => {
  it('gives everything back that a thread had', async () => {
    const memory = await SnapshotMemory.create();
    await (await TestThread.start(memory)).end();
    const start = memory.memoryUsage();
    for (let round = 0; round < 3; round += 1) await (await TestThread.start(memory)).end();
    expect(memory.memoryUsage()).toEqual(start);
  });

  it('asserts the moves of a thread: one call at a time, on a resident snapshot, closed once', async () => {
    const memory = await SnapshotMemory.create();
    const resident = await loadRevision(memory, 1);
    const handle = memory.openThread();
    memory.assign(handle, resident, BODY, BATCH);
    expect(() => memory.assign(handle, resident, BODY, BATCH)).toThrow('one call at a time');
    expect(() => memory.settle(handle, 0)).toThrow('the call has ended');
    memory.closeThread(handle);
    expect(() => memory.closeThread(handle)).toThrow('the thread is open');
    expect(() => memory.assign(handle, resident, BODY, BATCH)).toThrow('the slot is open');
    memory.release(resident);
    expect(() => memory.assign(memory.openThread(), resident, BODY, BATCH)).toThrow('resident in this memory');
  });

  it('refuses a thread beyond the most it has, and goes on', async () => {
    const memory = await SnapshotMemory.create({ memoryBytesMax: 8 * 1024 * 1024 });
    const handles = [memory.openThread()];
    const usage = memory.memoryUsage().usedBytes;
    const openAll = (): void => {
      for (let count = 0; count < 100; count += 1) handles.push(memory.openThread());
    };
    expect(openAll).toThrow('the kernel memory is full');
    for (const handle of handles.slice(1)) memory.closeThread(handle);
    expect(memory.memoryUsage().usedBytes).toBe(usage);
    const large = await SnapshotMemory.create();
    for (let count = 0; count < 64; count += 1) large.openThread();
    expect(() => large.openThread()).toThrow('64 threads are open');
  });
});
