import assert from 'node:assert/strict';
import { PlatformError } from '@guidon/protocol';
import type { KernelMemory } from './kernel-memory.js';

/** Threads of one memory. */
export const THREAD_COUNT_MAX = 64;
/** Slots are a cache line apart: threads write them at the same time. */
const SLOT_BYTES = 64;
/** A slot's word is the low part of its epoch, never 0. */
const WORD_COUNT = 0xffff_ffff;

interface Retired {
  readonly address: number;
  /** In force when it was retired: whoever entered then or before may be reading it. */
  readonly epoch: number;
}

/**
 * When memory that threads read may be freed. Each thread but the owner's own has a slot, a word in shared memory:
 *
 *   closed --owner: open()--> offline (0) --owner: enter(), before it hands over a call--> entered (the epoch)
 *   entered --thread: Atomics.store 0, as the last thing of the call--> offline
 *   entered, offline --owner: close(), after the exit event of the thread's worker--> closed
 *
 * There are no other moves. The epoch rises each time something was retired. What was retired in epoch `e` is freed once every slot is 0
 * or newer than `e`. Because the owner both enters and retires, nothing can be retired between the choice of a root and the entry, and
 * no lock is needed. A call that never ends keeps what was retired since; whoever set its deadline ends its worker (I20).
 */
export class GracePeriod {
  readonly #memory: KernelMemory;
  readonly #slots: number;
  readonly #closed: number[];
  /** Epoch by address of each open slot; the word says whether it is in force. */
  readonly #entered = new Map<number, number>();
  /** Ascending by epoch. */
  #retired: Retired[] = [];
  #epoch = 1;

  constructor(memory: KernelMemory) {
    this.#memory = memory;
    this.#slots = memory.allocate(THREAD_COUNT_MAX * SLOT_BYTES);
    memory.bytes.fill(0, this.#slots, this.#slots + THREAD_COUNT_MAX * SLOT_BYTES);
    this.#closed = Array.from({ length: THREAD_COUNT_MAX }, (_, index) => this.#slots + index * SLOT_BYTES).reverse();
  }

  get epoch(): number {
    return this.#epoch;
  }

  /** Blocks and roots that wait for a thread. */
  get retiredCount(): number {
    return this.#retired.length;
  }

  /** Address of a slot. Throws `limit-exceeded` when all are taken. */
  open(): number {
    const slot = this.#closed.pop();
    if (slot === undefined) throw new PlatformError('limit-exceeded', `${THREAD_COUNT_MAX} threads are open`);
    this.#entered.set(slot, 0);
    return slot;
  }

  isOffline(slot: number): boolean {
    assert(this.#entered.has(slot), 'the slot is open');
    return Atomics.load(this.#memory.words, slot >> 2) === 0;
  }

  enter(slot: number): void {
    assert(this.isOffline(slot), 'a thread runs one call at a time');
    this.#entered.set(slot, this.#epoch);
    Atomics.store(this.#memory.words, slot >> 2, wordOf(this.#epoch));
  }

  close(slot: number): void {
    assert(this.#entered.delete(slot), 'a slot is closed once');
    Atomics.store(this.#memory.words, slot >> 2, 0);
    this.#closed.push(slot);
  }

  /** To be followed by advance(), once for all that is retired together. */
  retire(address: number): void {
    this.#retired.push({ address, epoch: this.#epoch });
  }

  advance(): void {
    this.#epoch += 1;
  }

  /** Frees what no thread can be reading any more. */
  reclaim(): void {
    if (this.#retired.length === 0) return;
    let oldest = Number.POSITIVE_INFINITY;
    for (const [slot, epoch] of this.#entered) if (!this.isOffline(slot)) oldest = Math.min(oldest, epoch);
    const kept = this.#retired.findIndex(({ epoch }) => epoch >= oldest);
    const freed = kept < 0 ? this.#retired : this.#retired.slice(0, kept);
    this.#retired = kept < 0 ? [] : this.#retired.slice(kept);
    for (const { address } of freed) this.#memory.free(address);
  }
}

/** What a thread sees of an epoch; two of them are equal only when four billion lie between. */
export const wordOf = (epoch: number): number => (epoch % WORD_COUNT) + 1;
