import type { AttributeClause, FlagDefinition } from '@guidon/engine';
import type { WorkloadContext } from '../workloads.js';

export type { AttributeClause, FlagDefinition, WorkloadContext };

/** What one process measures: all flags for each context in turn. */
export interface PeerTask {
  readonly flags: readonly FlagDefinition[];
  readonly contexts: readonly WorkloadContext[];
}

/** Another SDK with the flags of a task loaded and its contexts in its own shape. */
export interface Peer {
  /** The variation (`on`, `off`, `treatment`, `control`) of a flag for the index-th context. */
  ask(flagKey: string, index: number): string | Promise<string>;
  close?(): void | Promise<void>;
}

/** Each adapter in bench/peers exports one under the name `createPeer`. */
export type CreatePeer = (task: PeerTask) => Peer | Promise<Peer>;
