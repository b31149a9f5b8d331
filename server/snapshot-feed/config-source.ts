import type { EnvironmentRef } from '@guidon/protocol';
import type { ConfigMessage, EnvironmentState, Signed } from '@guidon/protocol/signed-config';

/**
 * Where a node asks for what it lacks: the control plane, or another node that serves the same. Every call has a deadline and rejects
 * with a PlatformError; nothing it returns is trusted before the reducer has verified it.
 */
export interface ConfigSource {
  /** The root key and the signed key set. */
  fetchKeySet(): Promise<{ readonly rootPublicKey: string; readonly keySet: Signed }>;
  /** Undefined when the source's root equals `root`; else its root and the digests of its 256 buckets. */
  fetchDigests(root: string): Promise<{ readonly root: string; readonly buckets: readonly string[] } | undefined>;
  fetchBuckets(buckets: readonly number[]): Promise<readonly EnvironmentState[]>;
  /** The change since `since`, or everything when that is 0 or no longer kept. */
  fetchConfig(environment: EnvironmentRef, since: number): Promise<ConfigMessage>;
  fetchAccess(environment: EnvironmentRef): Promise<Signed>;
  /** Tells the source where this node stands. */
  postStatus(status: NodeStatus): Promise<void>;
}

export interface NodeStatus {
  readonly nodeId: string;
  readonly store: string;
  readonly environments: readonly (EnvironmentState & { readonly quarantined: readonly QuarantineReport[] })[];
}

export interface QuarantineReport {
  readonly epoch: number;
  readonly revision: number;
  readonly digest: string;
  readonly reason: string;
}
