import assert from 'node:assert/strict';
import type { CompiledSnapshot } from '../compile/compile-snapshot.js';
import { STATUS } from '../compile/thread-layout.js';
import type { CostlyAnswer, KernelAnswer } from './kernel-answer.js';
import type { KernelThread } from './kernel-thread.js';
import type { ResidentSnapshot } from './load-snapshot.js';
import { hasRoom, memoryFull } from './read-answer.js';
import { callOptionsOf, type EvaluateOptions, SnapshotMemory, type SnapshotMemoryOptions } from './snapshot-memory.js';
import type { ThreadRegions } from './thread-regions.js';
import type { UsageBlocks } from './usage-blocks.js';

/** Bytes of a body that are read for one unit of cost (condition-cost.ts). */
const BODY_BYTES_PER_UNIT = 8;

const COSTLY: CostlyAnswer = { status: 'costly' };

/** A snapshot memory together with the owner's own thread: loads snapshots and evaluates msgpack requests on them, one at a time. */
export class KernelHost {
  /** For further threads. Load and release through the host. */
  readonly memory: SnapshotMemory;
  readonly #thread: KernelThread;
  readonly #regions: ThreadRegions;
  readonly #usage: UsageBlocks;
  /** The snapshot evaluated last, which is most often the next one too; saves a look into the set. */
  #last: ResidentSnapshot | undefined;
  /** Of the memory, when the thread last forgot the shapes of contexts. */
  #epoch = 0;

  static async create(options: SnapshotMemoryOptions = {}): Promise<KernelHost> {
    return new KernelHost(await SnapshotMemory.create(options));
  }

  private constructor(memory: SnapshotMemory) {
    this.memory = memory;
    const { thread, regions, usage } = memory.openOwnThread();
    this.#thread = thread;
    this.#regions = regions;
    this.#usage = usage;
  }

  /** As SnapshotMemory.load(). */
  async load(snapshot: CompiledSnapshot): Promise<ResidentSnapshot> {
    const resident = await this.memory.load(snapshot);
    try {
      this.#regions.reserveSnapshot(resident.slotCount, resident.flagCount);
    } catch (error) {
      this.memory.release(resident);
      throw error;
    }
    return resident;
  }

  /** As SnapshotMemory.release(). */
  release(resident: ResidentSnapshot): void {
    this.#last = undefined;
    this.memory.release(resident);
  }

  /** As SnapshotMemory.memoryUsage(). */
  memoryUsage(): ReturnType<SnapshotMemory['memoryUsage']> {
    return this.memory.memoryUsage();
  }

  /** Answers one msgpack request (wire.md, "Data plane"). Never throws for what is in the body. */
  evaluate(resident: ResidentSnapshot, body: Uint8Array, options: EvaluateOptions): KernelAnswer {
    const answer = this.#evaluate(resident, body, options, 0);
    return answer.status === 'costly' ? assert.fail('any cost is admitted') : answer;
  }

  /** The same if it is certain to cost at most `costMax` units of work (condition-cost.ts), more than 0; otherwise `costly`. */
  evaluateWithin(
    costMax: number,
    resident: ResidentSnapshot,
    body: Uint8Array,
    options: EvaluateOptions,
  ): KernelAnswer | CostlyAnswer {
    const left = costMax - Math.floor(body.length / BODY_BYTES_PER_UNIT);
    return left > 0 ? this.#evaluate(resident, body, options, left) : COSTLY;
  }

  #turnTo(resident: ResidentSnapshot): void {
    assert(this.memory.isResident(resident), 'the snapshot is resident in this host');
    this.#last = resident;
  }

  #evaluate(
    resident: ResidentSnapshot,
    body: Uint8Array,
    options: EvaluateOptions,
    costMax: number,
  ): KernelAnswer | CostlyAnswer {
    const { memory } = this;
    if (this.#last !== resident) this.#turnTo(resident);
    const refusal = memory.putRequest(this.#regions, body, options);
    if (refusal !== undefined) return refusal;
    if (!this.#usage.isFor(resident) && !countFor(this.#usage, resident)) return memoryFull();
    if (this.#epoch !== memory.epoch) {
      this.#thread.forgetShapes();
      this.#epoch = memory.epoch;
    }
    const bits = callOptionsOf(options);
    for (;;) {
      const result = this.#thread.run(resident.address, body.length, bits, options.now, costMax);
      if (result === -STATUS.costly) return COSTLY;
      const answer = memory.readAnswer(this.#regions, result);
      if (answer !== undefined) return answer;
    }
  }
}

/** A function of its own, as reserveBody() is. */
function countFor(usage: UsageBlocks, resident: ResidentSnapshot): boolean {
  return hasRoom(() => usage.use(resident));
}
