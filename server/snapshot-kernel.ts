import {
  type CompiledSnapshot,
  type EvaluateOptions,
  type KernelAnswer,
  KernelHost,
  type ResidentSnapshot,
} from '@guidon/engine';
import type pino from 'pino';
import type { ActiveSnapshot, EnvironmentSlot } from './environment-slot.js';

/**
 * The node's kernel, and what happens when it throws. The host replaces the instance (I20), what is resident stays so; the environment whose
 * request did it is told, and after the third time its last revision serves no longer (I10).
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

  /** `answer.bytes` is borrowed until the next call. Throws when the kernel did. */
  evaluate(
    slot: EnvironmentSlot,
    { resident }: ActiveSnapshot,
    body: Uint8Array,
    options: EvaluateOptions,
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
