import { PageAllocator } from '@guidon/engine/wasm-host/page-allocator.js';
import { describe, expect, it } from 'vitest';

const PAGE = 65_536;
const SLACK = 32;

/** Up to `pageMax` pages, as a memory grows. */
function allocatorOf(firstPage: number, endPage: number, pageMax = endPage): PageAllocator {
  let end = endPage;
  return new PageAllocator(firstPage, endPage, (pageCount) => {
    if (end + pageCount > pageMax) return false;
    end += pageCount;
    return true;
  });
}

describe('PageAllocator', () => {
  it('never hands out the same byte twice, nor any below its first page', () => {
    const allocator = allocatorOf(2, 4, 400);
    const taken: { address: number; byteCount: number }[] = [];
    let state = 7;
    for (let step = 0; step < 3_000; step += 1) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
      if (state % 3 === 0 && taken.length > 0) {
        const [freed] = taken.splice(state % taken.length, 1);
        if (freed !== undefined) allocator.free(freed.address);
        continue;
      }
      const byteCount = 1 + (state % (step % 50 === 0 ? 200_000 : 3_000));
      const address = allocator.allocate(byteCount);
      if (address === undefined) continue;
      expect(address).toBeGreaterThanOrEqual(2 * PAGE);
      taken.push({ address, byteCount });
    }
    const sorted = taken.sort((a, b) => a.address - b.address);
    for (const [index, block] of sorted.entries()) {
      const next = sorted[index + 1];
      if (next !== undefined) expect(block.address + block.byteCount + SLACK).toBeLessThanOrEqual(next.address);
    }
    for (const { address } of sorted) allocator.free(address);
    expect(allocator.usedBytes).toBe(0);
  });

  it('joins free neighbours again', () => {
    const allocator = allocatorOf(0, 8);
    const blocks = Array.from({ length: 8 }, () => allocator.allocate(PAGE - SLACK) ?? -1);
    expect(allocator.allocate(1)).toBeUndefined();
    for (const index of [1, 3, 2, 0, 7, 5, 6, 4]) allocator.free(blocks[index] ?? -1);
    expect(allocator.freeBytes).toBe(8 * PAGE);
    expect(allocator.allocate(8 * PAGE - SLACK)).toBe(0);
  });

  it('grows when nothing fits, says so when it cannot, and takes the free end into account', () => {
    const allocator = allocatorOf(0, 2, 5);
    expect(allocator.allocate(PAGE * 2 - SLACK)).toBe(0);
    expect(allocator.allocate(PAGE * 4)).toBeUndefined();
    expect(allocator.allocate(PAGE * 3 - SLACK)).toBe(2 * PAGE);
    expect(allocator.allocate(1)).toBeUndefined();
  });

  it('gives whole pages back that small blocks have left', () => {
    const allocator = allocatorOf(0, 1);
    const small = Array.from({ length: 100 }, () => allocator.allocate(100) ?? -1);
    expect(allocator.freeBytes).toBe(0);
    for (const address of small) allocator.free(address);
    expect(allocator.freeBytes).toBe(PAGE);
    expect(allocator.allocate(PAGE - SLACK)).toBe(0);
  });

  it('asserts that only what was allocated is freed, once', () => {
    const allocator = allocatorOf(0, 2);
    const address = allocator.allocate(100) ?? -1;
    allocator.allocate(100);
    expect(() => allocator.free(address + 8)).toThrow('freed once');
    allocator.free(address);
    expect(() => allocator.free(address)).toThrow('freed once');
    expect(() => allocator.free(PAGE)).toThrow('only what was allocated');
  });
});
