import { type CompiledSnapshot, type KernelAnswer, KernelHost, type ResidentSnapshot } from '@guidon/engine';
import type pino from 'pino';
import type { ActiveSnapshot, EnvironmentSlot } from './environment-slot.js';

/**
 * The node's kernel, and the rules for when it throws: never used again (I20), reported to the environment whose request did it (I10), at
 * most so many new ones a minute. What is resident stays resident: a new instance reads the same memory.
 */
export class SnapshotKernel {
  trapCount = 0;
  readonly #host: KernelHost;
  readonly #logger: pino.Logger;
  #onTrap: (slot: EnvironmentSlot) => void = () => undefined;

  private constructor(host: KernelHost, logger: pino.Logger) {
    this.#host = host;
    this.#logger = logger;
  }

  static async create(logger: pino.Logger): Promise<SnapshotKernel> {
    return new SnapshotKernel(await KernelHost.create(), logger);
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
    return this.#host.memoryUsage().memoryBytes;
  }

  /** `answer.bytes` is borrowed until the next call. Throws when the kernel did. */
  evaluate(
    slot: EnvironmentSlot,
    { resident }: ActiveSnapshot,
    body: Uint8Array,
    options: { route: 'evaluate' | 'batch'; now: number; clientSideOnly: boolean },
  ): KernelAnswer {
    try {
      return this.#host.evaluate(resident, body, options);
    } catch (error) {
      this.trapCount += 1;
      this.#logger.error({ err: error, environment: slot.environment }, 'the kernel threw');
      this.#onTrap(slot);
      throw error;
    }
  }
}
