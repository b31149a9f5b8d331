/** What a fixture's `case.json` says of the installation whose folders lie beside it. Its keys and tokens open nothing else. */
export interface CompatCase {
  readonly commit: string;
  readonly snapshotFormat: number;
  /** Of the control plane's store. */
  readonly storeFormat: number;
  readonly trustRoot: string;
  /** Token of an installation admin. */
  readonly admin: string;
  readonly tenantId: string;
  readonly environmentPath: string;
  readonly environmentId: string;
  readonly serverKey: string;
  readonly revision: number;
  /** What the node of that time answered at that revision. */
  readonly answers: readonly {
    readonly flag: string;
    readonly context: Readonly<Record<string, unknown>>;
    readonly status: number;
    readonly value: unknown;
  }[];
  /** Of the tenant's audit log. */
  readonly auditActions: readonly string[];
  /** The last exchange of each kind between that node and that control plane. */
  readonly exchanges: readonly RecordedExchange[];
}

export interface RecordedExchange {
  readonly method: string;
  readonly path: string;
  readonly status: number;
  /** Content-Type and ETag of the answer, and its body in base64. */
  readonly type: string;
  readonly etag: string;
  readonly body: string;
}
