import type { CompilePool } from '@guidon/pool';
import { PlatformError } from '@guidon/protocol';
import type { TrustedKeys } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { AccessDirectory } from '../auth/access-directory.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';

export interface ReducerParts {
  readonly store: SnapshotStore;
  readonly pool: CompilePool;
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
  readonly directory: AccessDirectory;
  readonly keys: () => TrustedKeys;
  readonly logger: pino.Logger;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
}

/**
 * `activated`: it serves now. `ignored`: nothing to do. `fetch` and `fetch-whole`: ask the control plane for the change, or for everything.
 * `refused`: it is not to be trusted or was tried and failed a check. `failed`: try again later.
 */
export type Outcome = 'activated' | 'ignored' | 'fetch' | 'fetch-whole' | 'refused' | 'failed';

/** How often config came into force, was refused, failed on the way, named another content of a known revision, or was quarantined. */
export interface ReducerCounters {
  activated: number;
  refused: number;
  failed: number;
  forks: number;
  quarantined: number;
}

/** What is wrong with a document is said, counted and dropped; anything else is a fault of ours and thrown on. */
export function refuse(
  error: unknown,
  what: string,
  { counters, logger }: { counters: ReducerCounters; logger: pino.Logger },
): Outcome {
  if (!(error instanceof PlatformError)) throw error;
  counters.refused += 1;
  logger.error({ reason: error.message, code: error.code }, what);
  return 'refused';
}
