import type { BusSettings } from '@guidon/protocol';
import type { MetricFamily } from '@guidon/protocol/metrics';
import type { TlsFiles } from '@guidon/protocol/tls-files';
import type { NodeQuotas } from '../quota/node-quotas.js';
import type { StoreChange } from '../snapshot-store/store-change.js';

/** What a process of a node is started with. Crosses the process border as JSON, never on the command line: it holds the node credential. */
export interface NodeProcessOptions {
  readonly dataDirectory: string;
  readonly controlPlaneUrl: string;
  readonly isEdge?: boolean;
  readonly isCanary?: boolean;
  readonly nodeCredential: string;
  /** Each process reads it. */
  readonly downstreamCredentialFile?: string;
  readonly controlPlaneCa?: string;
  readonly tls?: TlsFiles;
  readonly trustRoot?: string;
  readonly host: string;
  readonly pollIntervalMs?: number;
  /** Of this process alone. */
  readonly snapshotMemoryBytes?: number;
  readonly inlineCostMax?: number;
  /** Of this process alone. */
  readonly quotas?: NodeQuotas;
  readonly staleAfterMs?: number;
  /** Only the process that leads connects to it. */
  readonly bus?: BusSettings;
  readonly logLevel: string;
  /** 0-based place in the group; a replacement has the place of the one before. */
  readonly processIndex: number;
}

/** From the parent to a child. `Options`: what it is started with. */
export type ParentMessage<Options = NodeProcessOptions> =
  | { readonly type: 'start'; readonly options: Options }
  /** Write the store and follow the control plane. Sent to one living child at most. */
  | { readonly type: 'lead' }
  /** Follow the store that another child writes. */
  | { readonly type: 'follow' }
  | { readonly type: 'listen'; readonly port: number }
  | { readonly type: 'ping' }
  | { readonly type: 'node-ready' }
  /** A child has died: its reads of the store are over. */
  | { readonly type: 'reader-gone' }
  | { readonly type: 'report'; readonly reportId: number }
  /** The certificate files hold something new. */
  | { readonly type: 'reload-certificate' }
  | { readonly type: 'drain' }
  | SiblingMessage;

/** Passed on from child to child. */
export type SiblingMessage =
  | { readonly type: 'change'; readonly change: StoreChange }
  | { readonly type: 'confirmed'; readonly behind: readonly string[] }
  | { readonly type: 'trap'; readonly environmentId: string; readonly revision: number };

/** From a child to the parent. */
export type ChildMessage =
  /** The code is loaded. */
  | { readonly type: 'booted' }
  /** The store is open for writing, and every writer before can write no more. */
  | { readonly type: 'leading' }
  /** It answers what the disk has. */
  | { readonly type: 'prepared' }
  /** On this port, when it was not told which. */
  | { readonly type: 'listening'; readonly port?: number }
  | { readonly type: 'pong' }
  | { readonly type: 'ready'; readonly isReady: boolean }
  | { readonly type: 'report'; readonly reportId: number; readonly report: ProcessReport }
  /** It ends now, for this reason. */
  | { readonly type: 'failed'; readonly code: string; readonly detail: string }
  | SiblingMessage;

export interface ProcessReport {
  readonly details: readonly string[];
  readonly families: readonly MetricFamily[];
  readonly residentBytes: number;
}
