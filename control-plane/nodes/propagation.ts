import type { EnvironmentRef } from '@guidon/protocol';
import type { NodeDirectory } from './node-directory.js';

/** A revision that a write made. */
export interface WrittenRevision {
  readonly environment: EnvironmentRef;
  readonly epoch: number;
  readonly revision: number;
}

export interface WaitOutcome {
  readonly isComplete: boolean;
  /** Live nodes. */
  readonly nodeCount: number;
  /** Live nodes that do not serve everything yet. */
  readonly missing: readonly string[];
}

/** Writes that wait at once; one more is answered at once. */
const WAITING_MAX = 500;

/** Lets writes wait until the nodes that are live serve them. It never holds up the write itself: that is durable before. */
export class Propagation {
  readonly #directory: NodeDirectory;
  #waitingCount = 0;

  constructor(directory: NodeDirectory) {
    this.#directory = directory;
  }

  /** Resolves when all live nodes serve `written`, or after `waitMs`. */
  async wait(written: readonly WrittenRevision[], waitMs: number): Promise<WaitOutcome> {
    const first = this.#look(written);
    if (first.isComplete || this.#waitingCount >= WAITING_MAX) return first;
    this.#waitingCount += 1;
    try {
      return await new Promise((resolve) => {
        const end = (): void => {
          clearTimeout(timer);
          unsubscribe();
          resolve(this.#look(written));
        };
        const timer = setTimeout(end, waitMs);
        const unsubscribe = this.#directory.onReport(() => {
          if (this.#look(written).isComplete) end();
        });
      });
    } finally {
      this.#waitingCount -= 1;
    }
  }

  #look(written: readonly WrittenRevision[]): WaitOutcome {
    const live = new Set<string>();
    const missing = new Set<string>();
    for (const { environment, epoch, revision } of written) {
      this.#directory.visitLive(environment.environmentId, { epoch, revision }, (nodeId, isServing) => {
        live.add(nodeId);
        if (!isServing) missing.add(nodeId);
      });
    }
    return { isComplete: missing.size === 0, nodeCount: live.size, missing: [...missing] };
  }
}
