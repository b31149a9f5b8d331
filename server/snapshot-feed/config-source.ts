import type { EnvironmentRef } from '@guidon/protocol';
import type { ConfigMessage, EnvironmentState, Signed } from '@guidon/protocol/signed-config';

/**
 * Where a node asks for what it lacks: the control plane, or another node that serves the same. Every call has a deadline and rejects
 * with a PlatformError; nothing it returns is trusted before the reducer has verified it.
 */
export interface ConfigSource {
  /**
   * False: it is another node. Then it has no audit logs, takes no status, and is not believed that an environment is gone, which nobody signs.
   */
  readonly isControlPlane: boolean;
  /** The root key and the signed key set. */
  fetchKeySet(): Promise<{ readonly rootPublicKey: string; readonly keySet: Signed }>;
  /** Undefined when the source's root equals `root`; else its root and the digests of its 256 buckets. */
  fetchDigests(root: string): Promise<{ readonly root: string; readonly buckets: readonly string[] } | undefined>;
  fetchBuckets(buckets: readonly number[]): Promise<readonly EnvironmentState[]>;
  /** The change since `since`, or everything when that is 0 or no longer kept. */
  fetchConfig(environment: EnvironmentRef, since: number): Promise<ConfigMessage>;
  fetchAccess(environment: EnvironmentRef): Promise<Signed>;
  /** The newest heads of audit logs behind `cursor` ('' = all), as encoded signed documents. */
  fetchTreeHeads(cursor: string): Promise<{
    readonly heads: readonly Uint8Array[];
    readonly cursor: string;
    readonly hasMore: boolean;
  }>;
  /** Hashes that show one size of a log to be the beginning of another; undefined when the log has no such sizes. */
  fetchConsistencyProof(owner: string, first: number, second: number): Promise<readonly Uint8Array[] | undefined>;
  /** Tells the source where this node stands. False: it has not heard the report before; send everything. */
  postStatus(status: NodeStatus): Promise<boolean>;
}

export interface NodeStatus {
  readonly nodeId: string;
  /** Another one after each start. */
  readonly session: string;
  /** From 1, one more with each report of the session. */
  readonly sequence: number;
  /** `environments` are all; else those that changed since the report before. */
  readonly isWhole: boolean;
  readonly version: string;
  /** It takes each revision before the others. */
  readonly isCanary: boolean;
  readonly store: string;
  readonly bus: string;
  readonly streams: number;
  /** From signing to serving, of the newest revision that came. */
  readonly lagMs: number | null;
  readonly witness: WitnessStatus;
  readonly environments: readonly EnvironmentReport[];
  readonly removed: readonly string[];
}

export interface EnvironmentReport extends EnvironmentState {
  readonly streams?: number;
  /** Of a canary: what the revision that serves has answered on this node since it was loaded. */
  readonly answers?: { readonly evaluations: number; readonly errors: number };
  readonly quarantined: readonly QuarantineReport[];
}

/** What a node saw of the audit logs. */
export interface WitnessStatus {
  readonly logCount: number;
  readonly inconsistentCount: number;
  /** Logs that a restore has cut since the node's start: signed, and taken. */
  readonly restoredCount: number;
  /** Logs that are no continuation of the head that is held. */
  readonly inconsistent: readonly {
    /** A tenant's id, or `$` for the installation's own log. */
    readonly owner: string;
    readonly size: number;
    readonly root: string;
    readonly shownSize: number;
    readonly shownRoot: string;
    readonly reason: string;
  }[];
}

export interface QuarantineReport {
  readonly epoch: number;
  readonly revision: number;
  readonly digest: string;
  readonly reason: string;
}
