import { THREAD } from '../compile/thread-layout.js';
import type { KernelMemory } from './kernel-memory.js';
import type { ResidentSnapshot } from './load-snapshot.js';
import type { SnapshotUsage, UsageTotals } from './usage-totals.js';

interface UsageBlock {
  readonly address: number;
  readonly usage: SnapshotUsage;
  /** The words when they were last read. */
  readonly seen: Uint32Array;
}

/**
 * The USAGE blocks of one thread, as the owner of the memory sees them: one for each resident snapshot that the thread was given. Only the
 * thread writes them, only the owner reads, makes and frees them. States of a block:
 *
 *   opened: the thread may be counting in it, it is read with the next sweep   --sweep, the thread is offline--> idle
 *   idle --use()--> opened          opened, idle --the snapshot is released--> leaving          leaving --the thread is offline--> read and freed
 */
export class UsageBlocks {
  readonly #memory: KernelMemory;
  readonly #threadAddress: number;
  readonly #totals: UsageTotals;
  readonly #isOffline: () => boolean;
  readonly #blocks = new Map<ResidentSnapshot, UsageBlock>();
  readonly #opened = new Set<UsageBlock>();
  #leaving: UsageBlock[] = [];
  /** Named in the THREAD block. */
  #current: ResidentSnapshot | undefined;

  constructor(memory: KernelMemory, threadAddress: number, totals: UsageTotals, isOffline: () => boolean) {
    this.#memory = memory;
    this.#threadAddress = threadAddress;
    this.#totals = totals;
    this.#isOffline = isOffline;
  }

  /** The next call counts for this snapshot already. */
  isFor(resident: ResidentSnapshot): boolean {
    return resident === this.#current;
  }

  /** Before each call, while the thread is offline: it counts for this snapshot. Throws `limit-exceeded` when the memory is full. */
  use(resident: ResidentSnapshot): void {
    if (resident === this.#current) return;
    // A thread that is never idle when it is swept has its turn here.
    this.#freeLeaving();
    const block = this.#blocks.get(resident) ?? this.#open(resident);
    this.#opened.add(block);
    this.#name(block.address);
    this.#current = resident;
  }

  #open(resident: ResidentSnapshot): UsageBlock {
    const memory = this.#memory;
    const byteCount = resident.counterCount * 4;
    const address = memory.allocate(byteCount);
    memory.bytes.fill(0, address, address + byteCount);
    const block: UsageBlock = { address, usage: this.#totals.open(resident), seen: new Uint32Array(byteCount / 4) };
    this.#blocks.set(resident, block);
    return block;
  }

  #name(address: number): void {
    this.#memory.view.setUint32(this.#threadAddress + THREAD.usage, address, true);
  }

  /** Reads what was counted since the last sweep. What a call is about to count is read with the next. */
  sweep(): void {
    // Asked first: what an offline thread has counted is all there.
    const isOffline = this.#isOffline();
    for (const block of this.#opened) this.#read(block);
    if (!isOffline) return;
    this.#opened.clear();
    this.#current = undefined;
    this.#freeLeaving();
  }

  /** The snapshot is being released: false while the thread may be counting for it. */
  leave(resident: ResidentSnapshot): void {
    const block = this.#blocks.get(resident);
    if (block === undefined) return;
    this.#blocks.delete(resident);
    this.#leaving.push(block);
    if (this.#isOffline()) this.#freeLeaving();
  }

  /** The thread is gone. `wasKilled`: in the middle of a call, of which nobody knows how much it had counted. */
  close(wasKilled: boolean): void {
    for (const block of this.#blocks.values()) {
      if (wasKilled && block.usage.resident === this.#current) this.#lose(block);
      else this.#read(block);
      this.#free(block);
    }
    for (const block of this.#leaving) {
      if (wasKilled) this.#lose(block);
      else this.#read(block);
      this.#free(block);
    }
    this.#blocks.clear();
    this.#leaving = [];
  }

  #freeLeaving(): void {
    for (const block of this.#leaving) {
      this.#read(block);
      this.#opened.delete(block);
      if (block.usage.resident === this.#current) {
        this.#name(0);
        this.#current = undefined;
      }
      this.#free(block);
    }
    this.#leaving = [];
  }

  #free({ address, usage }: UsageBlock): void {
    this.#memory.free(address);
    this.#totals.close(usage);
  }

  #read(block: UsageBlock): void {
    this.#differences(block, (counter, count) => this.#totals.add(block.usage, counter, count));
  }

  #lose(block: UsageBlock): void {
    this.#differences(block, (_counter, count) => {
      this.#totals.lost += count;
    });
  }

  #differences({ address, seen }: UsageBlock, take: (counter: number, count: number) => void): void {
    const { words } = this.#memory;
    const first = address >> 2;
    for (let counter = 0; counter < seen.length; counter += 1) {
      const word = (words[first + counter] ?? 0) >>> 0;
      const before = seen[counter] ?? 0;
      if (word === before) continue;
      // Unsigned: right across the wrap-around, as long as a sweep comes every four billion results.
      take(counter, (word - before) >>> 0);
      seen[counter] = word;
    }
  }
}
