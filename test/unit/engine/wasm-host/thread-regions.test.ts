import { MEMO, SLOT_STATE, THREAD } from '@guidon/engine/compile/thread-layout.js';
import { KernelMemory } from '@guidon/engine/wasm-host/kernel-memory.js';
import { ThreadRegions } from '@guidon/engine/wasm-host/thread-regions.js';
import { describe, expect, it } from 'vitest';
import '@guidon/engine/wasm-host/webassembly-types.js';

function memoryOf(maximum: number): KernelMemory {
  return new KernelMemory(new WebAssembly.Memory({ initial: 64, maximum, shared: true }), 10_000);
}

describe('ThreadRegions', () => {
  it('leaves nothing with an old stamp when it starts counting again', () => {
    const memory = memoryOf(256);
    const thread = new ThreadRegions(memory);
    thread.reserveSnapshot(1_000, 1_000);
    const slotStates = thread.read(THREAD.slotStates);
    const memos = thread.read(THREAD.memos);
    memory.view.setUint32(thread.address + THREAD.stamp, 0xffffffff, true);
    memory.view.setUint32(thread.address + THREAD.foldStamp, 7, true);
    for (let index = 0; index < 1_000; index += 1) {
      memory.view.setUint32(slotStates + index * SLOT_STATE.bytes + SLOT_STATE.stamp, index, true);
      memory.view.setUint32(memos + index * MEMO.bytes + MEMO.stamp, index, true);
    }
    thread.resetStamps();
    expect(thread.read(THREAD.stamp)).toBe(0);
    expect(thread.read(THREAD.foldStamp)).toBe(0);
    expect(memory.bytes.subarray(slotStates, slotStates + 1_000 * SLOT_STATE.bytes).every((byte) => byte === 0)).toBe(
      true,
    );
    expect(memory.bytes.subarray(memos, memos + 1_000 * MEMO.bytes).every((byte) => byte === 0)).toBe(true);
  });

  it('moves a region only when the new one is there, and frees the old one', () => {
    const memory = memoryOf(96);
    const thread = new ThreadRegions(memory);
    const before = { address: thread.requestAddress, usedBytes: memory.usedBytes };
    expect(() => thread.reserveRequest(8 * 1024 * 1024)).toThrow('memory is full');
    expect(thread.requestAddress).toBe(before.address);
    expect(memory.usedBytes).toBe(before.usedBytes);
    thread.reserveRequest(100_000);
    expect(thread.requestCapacity).toBe(100_000);
    const grown = memory.usedBytes;
    thread.reserveRequest(90_000);
    expect(memory.usedBytes).toBe(grown);
  });

  it('has a secret of its own', () => {
    const memory = memoryOf(256);
    const seeds = [new ThreadRegions(memory), new ThreadRegions(memory)].map(({ address }) =>
      memory.view.getBigUint64(address + THREAD.seed, true),
    );
    expect(seeds[0]).not.toBe(seeds[1]);
  });
});
