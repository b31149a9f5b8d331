import assert from 'node:assert/strict';
import type { BlockId } from '../compile/compiled-unit.js';
import type { BlockSummary } from '../compile/verify-block.js';
import type { KernelMemory } from './kernel-memory.js';

export interface ResidentBlock {
  readonly id: BlockId;
  readonly address: number;
  readonly summary: BlockSummary;
  referenceCount: number;
}

/** Blocks that lie in kernel memory, once each however many snapshots name them. A block is retired when nobody names it any more. */
export class ResidentBlocks {
  /** Taken by all of them. */
  bytes = 0;
  readonly #memory: KernelMemory;
  readonly #retire: (address: number) => void;
  readonly #blocks = new Map<BlockId, ResidentBlock>();

  constructor(memory: KernelMemory, retire: (address: number) => void) {
    this.#memory = memory;
    this.#retire = retire;
  }

  /** One more reference to a block that is there already. */
  acquire(id: BlockId): ResidentBlock | undefined {
    const block = this.#blocks.get(id);
    if (block !== undefined) block.referenceCount += 1;
    return block;
  }

  /** Makes a block known whose bytes lie at `address` in full; its first reference is the caller's. */
  add(id: BlockId, address: number, summary: BlockSummary): ResidentBlock {
    assert(!this.#blocks.has(id), 'a block is resident once');
    const block: ResidentBlock = { id, address, summary, referenceCount: 1 };
    this.#blocks.set(id, block);
    this.bytes += this.#memory.bytesOf(address);
    return block;
  }

  release(block: ResidentBlock): void {
    block.referenceCount -= 1;
    if (block.referenceCount > 0) return;
    assert(block.referenceCount === 0, 'a reference is released once');
    this.#blocks.delete(block.id);
    this.bytes -= this.#memory.bytesOf(block.address);
    this.#retire(block.address);
  }
}
