import {
  type CompiledSnapshot,
  type CostlyAnswer,
  type EvaluateOptions,
  type KernelAnswer,
  KernelHost,
  type ResidentSnapshot,
  type RevisionUsage,
  type SnapshotMemory,
} from '@guidon/engine';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { DurationHistogram } from '@guidon/protocol/metrics';
import type pino from 'pino';
import type { ActiveSnapshot, EnvironmentSlot } from './environment-slot.js';

/** One call in this many is timed: a clock read costs as much as a small evaluation. */
const TIMED_EVERY = 64;
const BOUNDS_SECONDS = [1e-6, 2.5e-6, 5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 1e-3, 5e-3, 2.5e-2, 0.1] as const;

/** How the host begins to say that its memory is full, under the code that limits of requests have too. */
const MEMORY_FULL = 'the kernel memory is too full';

/**
 * The node's kernel, and what happens when it traps. The host replaces the instance (I20), what is resident stays so; the environment whose
 * request did it is told, and after the third time its last revision serves no longer (I10).
 */
export class SnapshotKernel {
  trapCount = 0;
  readonly durations = new DurationHistogram(BOUNDS_SECONDS);
  #callCount = 0;
  readonly #host: KernelHost;
  readonly #logger: pino.Logger;
  #onTrap: (slot: EnvironmentSlot) => void = () => undefined;

  private constructor(host: KernelHost, logger: pino.Logger) {
    this.#host = host;
    this.#logger = logger;
  }

  static async create(
    logger: pino.Logger,
    options: { readonly memoryBytesMax?: number } = {},
  ): Promise<SnapshotKernel> {
    return new SnapshotKernel(await KernelHost.create(options), logger);
  }

  onTrap(listener: (slot: EnvironmentSlot) => void): void {
    this.#onTrap = listener;
  }

  load(snapshot: CompiledSnapshot): Promise<ResidentSnapshot> {
    return this.#host.load(snapshot);
  }

  release(resident: ResidentSnapshot): void {
    this.#host.release(resident);
  }

  memoryBytes(): number {
    return this.#host.memoryUsage().totalBytes;
  }

  /** Bytes that resident snapshots take. */
  snapshotBytes(): number {
    return this.#host.memory.snapshotBytes;
  }

  /** For threads of its own: what they evaluate is loaded and released here. */
  get memory(): SnapshotMemory {
    return this.#host.memory;
  }

  /** Reads what all threads have counted. Once a second. */
  sweepUsage(): void {
    this.#host.memory.sweepUsage();
  }

  /** Results given for an environment since the process started, up to the last sweep. */
  evaluationsOf(environment: EnvironmentRef): number {
    return this.#host.memory.usage.evaluationsOf(environment);
  }

  /** What a snapshot has answered since it was loaded, all threads together, up to the last sweep. */
  answersOf(resident: ResidentSnapshot): { readonly evaluations: number; readonly errors: number } {
    return this.#host.memory.usage.answersOf(resident);
  }

  /** What was answered how often since the last time this was asked, by revision. */
  drainUsage(environment: EnvironmentRef): RevisionUsage[] {
    this.sweepUsage();
    return this.#host.memory.usage.drain(environment);
  }

  /** Results that ended threads had counted in calls nobody got an answer of. */
  get lostUsage(): number {
    return this.#host.memory.usage.lost;
  }

  /**
   * `costly` when it may cost more than `costMax` units of work (KernelHost.evaluateWithin); 0 = any cost is admitted. `answer.bytes` is borrowed
   * until the next call. Throws `overloaded` when its memory has no room for this request or its answer.
   */
  evaluate(
    slot: EnvironmentSlot,
    { resident }: ActiveSnapshot,
    body: Uint8Array,
    options: EvaluateOptions,
    costMax = 0,
  ): KernelAnswer | CostlyAnswer | { readonly status: 'trapped' } {
    let answer: KernelAnswer | CostlyAnswer;
    this.#callCount = (this.#callCount + 1) % TIMED_EVERY;
    const startedAt = this.#callCount === 0 ? performance.now() : 0;
    try {
      answer =
        costMax === 0
          ? this.#host.evaluate(resident, body, options)
          : this.#host.evaluateWithin(costMax, resident, body, options);
    } catch (error) {
      // The host says so of the call into the kernel alone; whatever else is thrown is no fault of the snapshot.
      if (!(error instanceof PlatformError) || error.code !== 'internal') throw error;
      this.reportTrap(slot, error);
      return { status: 'trapped' };
    }
    if (startedAt > 0) this.durations.observe((performance.now() - startedAt) / 1_000);
    if (answer.status !== 'costly') refuseWhenFull(answer);
    return answer;
  }

  /** A kernel on this memory, here or in a worker, trapped on what the environment serves. */
  reportTrap(slot: EnvironmentSlot, error: unknown): void {
    this.trapCount += 1;
    this.#logger.error({ err: error, environment: slot.environment }, 'the kernel trapped');
    this.#onTrap(slot);
  }
}

/** Throws `overloaded`: the limit is the node's, not the request's. */
export function refuseWhenFull(answer: KernelAnswer): void {
  if (answer.status === 'limit-exceeded' && answer.detail.startsWith(MEMORY_FULL)) {
    throw new PlatformError('overloaded', 'The memory for evaluations is full; try again.');
  }
}
