import type { TemplatedApp } from 'uWebSockets.js';
import { CompilePool } from '@guidon/pool';
import { type ChangeBus, VERSION } from '@guidon/protocol';
import type { EventCarrier } from '@guidon/protocol/events';
import { EventLoopDelay } from '@guidon/protocol/metrics';
import type { TlsFiles } from '@guidon/protocol/tls-files';
import type pino from 'pino';
import { AccessDirectory } from './auth/access-directory.js';
import { ConfigBodies } from './config/config-bodies.js';
import type { DefinitionSource } from './config/config-view.js';
import { ConfigViews } from './config/config-views.js';
import { DigestWaiters } from './downstream/digest-waiters.js';
import { DownstreamCredentials } from './downstream/downstream-credentials.js';
import { addDownstreamRoutes } from './downstream/downstream-routes.js';
import type { EnvironmentSlot } from './environment-slot.js';
import { EventPipeline } from './events/event-pipeline.js';
import { EventsRoute } from './events/events-route.js';
import { HeldAnswers } from './held-answers.js';
import { MetricsPage } from './metrics/metrics-page.js';
import { readNodeId } from './node-id.js';
import { OfrepBulkRoute } from './ofrep/ofrep-bulk-route.js';
import { OfrepFlagRoute } from './ofrep/ofrep-flag-route.js';
import { OfrepStreamRoute } from './ofrep/ofrep-stream-route.js';
import { PooledEvaluation } from './pooled-evaluation.js';
import { CoarseClock } from './quota/coarse-clock.js';
import { ConnectionGate } from './quota/connection-gate.js';
import type { NodeQuotas } from './quota/node-quotas.js';
import { QuotaLedger } from './quota/quota-ledger.js';
import { ReloadableTlsApp } from './reloadable-tls-app.js';
import { Router } from './route.js';
import { CachedConfigRoute, ConfigRoute } from './routes/config-routes.js';
import { EvaluateRoute } from './routes/evaluate-route.js';
import type { EvaluateParts } from './routes/evaluation-placement.js';
import { ExplainRoute } from './routes/explain-route.js';
import { KeySetRoute } from './routes/key-set-route.js';
import { ValuesRoute } from './routes/values-route.js';
import { EnvironmentSet } from './snapshot-feed/environment-set.js';
import { HttpConfigSource } from './snapshot-feed/http-config-source.js';
import { SnapshotFeed } from './snapshot-feed/snapshot-feed.js';
import { StoreFollower } from './snapshot-feed/store-follower.js';
import { UpstreamWatch } from './snapshot-feed/upstream-watch.js';
import { SnapshotKernel } from './snapshot-kernel.js';
import { SnapshotResidency } from './snapshot-residency.js';
import type { StoreRole } from './snapshot-store/row-store.js';
import { SnapshotStore } from './snapshot-store/snapshot-store.js';
import type { StoreChange } from './snapshot-store/store-change.js';
import { StreamEventsRoute } from './stream/events-route.js';
import { SOCKET_MESSAGE_BYTES_MAX, StreamSocketRoute } from './stream/socket-route.js';
import type { StreamBounds } from './stream/stream-bounds.js';
import { StreamHub } from './stream/stream-hub.js';
import { StreamTokenRoute } from './stream/stream-token-route.js';
import { createApp, type ListeningApp, listen } from './uws-app.js';

export interface DataPlaneOptions {
  /** The node's own directory; shared with nobody but the processes of the same node. */
  readonly dataDirectory: string;
  readonly controlPlaneUrl: string;
  /** `controlPlaneUrl` is that of another node: this one is an edge, and believes of it what is signed. */
  readonly isEdge?: boolean;
  /** It takes each revision before the others, where the control plane has `--canary-seconds`. */
  readonly isCanary?: boolean;
  readonly nodeCredential: string;
  /** Holds the credentials of nodes that are fed from this one; without it nobody is. See DownstreamCredentials. */
  readonly downstreamCredentialFile?: string;
  /** PEM certificates of whoever signed the control plane's certificate, when no public authority did. */
  readonly controlPlaneCa?: string;
  /** Without it the evaluate API speaks plain HTTP. */
  readonly tls?: TlsFiles;
  /** Fingerprint of the root key; without it the first one seen is trusted and kept. */
  readonly trustRoot?: string;
  /** Makes changes arrive at once; without it they arrive by the next poll. */
  readonly bus?: ChangeBus;
  /** Takes events to the control plane; without it, or while it is away, they go over HTTP. Not closed by the node. */
  readonly eventCarrier?: EventCarrier;
  /** Of events that wait for the control plane, on the disk, bytes; default 64 MiB. */
  readonly eventSpoolBytes?: number;
  readonly logger: pino.Logger;
  readonly pollIntervalMs?: number;
  /** Kernel memory of each process for snapshots, bytes: environments beyond it are loaded from the disk when they are asked for. */
  readonly snapshotMemoryBytes?: number;
  /**
   * Units of work up to which a request is evaluated by the serving thread, 0 = any; what may cost more goes to the pool. Default
   * INLINE_COST_MAX: see docs/adr/0015.
   */
  readonly inlineCostMax?: number;
  /** Threads that evaluate what is not evaluated by the serving thread. Default: one fewer than cores; 1 in a node of several processes. */
  readonly evaluationThreadCount?: number;
  /** Answers carry `X-Config-Age` once the config has not been confirmed for this long. */
  readonly staleAfterMs?: number;
  /** `parseNodeQuotas` reads them; without them rates are not limited, connections and unread answers are. */
  readonly quotas?: NodeQuotas;
  /** Of live updates; the defaults suit a node of some ten thousand streams. */
  readonly streams?: Partial<StreamBounds>;
}

/** What takes time to open. */
interface OpenedParts {
  readonly store: SnapshotStore;
  readonly kernel: SnapshotKernel;
  readonly downstream: DownstreamCredentials | undefined;
}

/** What a process tells the other processes of its node. */
export interface SiblingListener {
  /** The writer: this was committed. */
  onChange(change: StoreChange): void;
  /** The writer: the control plane was asked; the rest is at what it has. */
  onConfirmed(behind: ReadonlySet<string>): void;
  /** A reader: a request made the kernel trap on what serves; only the writer may act on it. */
  onTrap(environmentId: string, revision: number): void;
}

const NOWHERE = { epoch: 0, revision: 0 } as const;
const POLL_INTERVAL_MS = 5_000;
const STALE_AFTER_MS = 60_000;
const SNAPSHOT_MEMORY_BYTES = 512 * 1024 * 1024;
/** Kernel memory beyond the budget: for a snapshot that exceeds it, for revisions on their way in and out, and for the threads. */
const MEMORY_HEADROOM_BYTES = 512 * 1024 * 1024;
/** About 1 ms of the dearest work on the slowest machine measured, 0.2 ms of ordinary flags (bench:loop). */
export const INLINE_COST_MAX = 32_768;
const DRAIN_DEADLINE_MS = 10_000;
const AGE_INTERVAL_MS = 1_000;

/**
 * Everything of a node that lies in one process: its kernel, its store, what keeps the environments up to date, and its routes. A node is one
 * of these, or several on the same store of which one leads (see docs/adr/0016). States:
 *
 *   opened --lead--> leading: follows the control plane and writes the store
 *   opened --follow--> following: follows the store that another process writes --lead--> leading
 *   any --close--> closed
 */
export class DataPlane {
  readonly environments: EnvironmentSet;
  readonly metrics: MetricsPage;
  readonly store: SnapshotStore;
  readonly #source: HttpConfigSource;
  readonly #feed: SnapshotFeed;
  readonly #follower: StoreFollower;
  readonly #router: Router;
  readonly #events: EventPipeline;
  /** Live updates that this process sends. */
  readonly streams: StreamHub;
  readonly #views: ConfigViews;
  readonly #gate: ConnectionGate;
  readonly #bodies = new ConfigBodies();
  /** Of the nodes that are fed from this one. */
  readonly #waiters: DigestWaiters;
  readonly #tls: ReloadableTlsApp | undefined;
  readonly #app: TemplatedApp;
  readonly #siblings: SiblingListener | undefined;
  /** Newest first: what was started last is closed first. */
  readonly #closers: (() => Promise<void> | void)[] = [];
  #state: 'opened' | 'leading' | 'following' = 'opened';
  #listening: ListeningApp | undefined;
  /** Another process of this node has been ready: then there is nothing to wait for but its store. */
  #isNodeReady = false;
  #closing: Promise<void> | undefined;

  /** `siblings` hear what the other processes of this node have to know; a node of one process has none. */
  static async open(
    options: DataPlaneOptions,
    role: StoreRole = 'sole',
    siblings?: SiblingListener,
  ): Promise<DataPlane> {
    const { logger, snapshotMemoryBytes = SNAPSHOT_MEMORY_BYTES, downstreamCredentialFile: file } = options;
    const downstream = file === undefined ? undefined : new DownstreamCredentials(file, logger);
    // The probe of the store and the kernel's compilation do not wait for each other.
    const [store, kernel] = await Promise.all([
      SnapshotStore.open(options.dataDirectory, logger, role),
      SnapshotKernel.create(logger, { memoryBytesMax: snapshotMemoryBytes + MEMORY_HEADROOM_BYTES }),
    ]);
    return new DataPlane(options, { store, kernel, downstream }, role, siblings);
  }

  private constructor(
    options: DataPlaneOptions,
    opened: OpenedParts,
    role: StoreRole,
    siblings: SiblingListener | undefined,
  ) {
    const { logger } = options;
    const { store, kernel, downstream } = opened;
    this.#tls = options.tls === undefined ? undefined : new ReloadableTlsApp(options.tls);
    this.#app = this.#tls?.app ?? createApp();
    this.store = store;
    this.#siblings = siblings;
    this.#closers.unshift(() => store.close());
    const pool = new CompilePool({ isWarm: role !== 'reader' });
    this.#closers.unshift(() => pool.close());
    const clock = new CoarseClock();
    this.#closers.unshift(() => clock.stop());
    const ledger = new QuotaLedger(options.quotas, clock);
    const residency: SnapshotResidency = new SnapshotResidency({
      bytesMax: options.snapshotMemoryBytes ?? SNAPSHOT_MEMORY_BYTES,
      tenantBytesMaxOf: (tenantId) => ledger.snapshotBytesMaxOf(tenantId),
      usedBytes: () => kernel.snapshotBytes(),
      load: async (slot) => this.environments.entryOf(slot)?.load(),
    });
    const directory = new AccessDirectory(ledger, () => this.isReady);
    const nodeId = readNodeId(options.dataDirectory, options.nodeCredential);
    const isEdge = options.isEdge ?? false;
    const source = new HttpConfigSource({
      nodeId,
      onUnknown: () => this.#feed.status.forgotten(),
      isControlPlane: !isEdge,
      isCanary: options.isCanary ?? false,
      url: options.controlPlaneUrl,
      nodeCredential: options.nodeCredential,
      ca: options.controlPlaneCa,
    });
    this.#source = source;
    this.environments = new EnvironmentSet({
      source,
      parts: { store, pool, kernel, residency, directory, logger, now: Date.now },
      trustRoot: options.trustRoot,
      logger,
    });
    this.#feed = new SnapshotFeed({
      nodeId,
      version: VERSION,
      streams: {
        count: () => this.streams.count,
        countOf: (slot) => this.streams.propagationOf(slot, NOWHERE).streams,
      },
      canary: options.isCanary === true ? { answersOf: (slot) => answersOf(kernel, slot) } : undefined,
      source,
      bus: isEdge ? new UpstreamWatch((root) => source.awaitChange(root)) : options.bus,
      environments: this.environments,
      store,
      pollIntervalMs: options.pollIntervalMs ?? POLL_INTERVAL_MS,
      onConfirmed: (behind) => siblings?.onConfirmed(behind),
      logger,
    });
    this.#follower = new StoreFollower({ environments: this.environments, store, logger });
    store.onChange((change) => siblings?.onChange(change));
    kernel.onTrap((slot) => this.#trapped(slot.environment.environmentId));
    const threadCount = options.evaluationThreadCount ?? (role === 'sole' ? undefined : 1);
    const evaluation = new PooledEvaluation(kernel, logger, threadCount === undefined ? {} : { threadCount });
    this.#closers.unshift(() => evaluation.close());
    const inlineCostMax = options.inlineCostMax ?? INLINE_COST_MAX;
    const parts = { directory, kernel, residency, ledger, evaluation, inlineCostMax, now: Date.now };
    this.#views = new ConfigViews((slot) => this.#definitionsOf(slot));
    this.#closers.unshift(() => this.#views.close());
    this.streams = new StreamHub({
      ...parts,
      views: this.#views,
      bodies: this.#bodies,
      ...(options.streams === undefined ? {} : { bounds: options.streams }),
      onError: (error) => logger.error({ err: error }, 'streams could not be served'),
    });
    this.#closers.unshift(() => this.streams.close());
    this.#gate = new ConnectionGate(this.#app, ledger.quotas.node.connections);
    this.#waiters = new DigestWaiters(this.environments.digests);
    this.environments.onDigests(() => this.#waiters.changed());
    if (downstream !== undefined) this.#closers.unshift(() => downstream.close());
    this.#events = new EventPipeline({
      dataDirectory: options.dataDirectory,
      spoolBytesMax: options.eventSpoolBytes,
      kernel,
      slots: () => this.environments.slots,
      sink: source,
      carrier: options.eventCarrier,
      logger,
      now: Date.now,
    });
    this.#closers.unshift(() => this.#events.close());
    this.#router = this.#routes(pool, parts, logger, downstream);
    const staleAfterMs = options.staleAfterMs ?? STALE_AFTER_MS;
    const ageTimer = setInterval(() => {
      for (const slot of this.environments.slots) slot.markAge(performance.now(), staleAfterMs);
      this.#events.tick();
    }, AGE_INTERVAL_MS);
    this.#closers.unshift(() => clearInterval(ageTimer));
    const eventLoopDelay = new EventLoopDelay();
    this.#closers.unshift(() => eventLoopDelay.close());
    this.metrics = new MetricsPage({
      router: this.#router,
      feed: this.#feed,
      environments: this.environments,
      store,
      kernel,
      residency,
      pool,
      evaluation,
      ledger,
      streams: this.streams,
      events: this.#events,
      gate: this.#gate,
      eventLoopDelay,
      version: VERSION,
    });
  }

  #routes(
    pool: CompilePool,
    parts: EvaluateParts,
    logger: pino.Logger,
    downstream: DownstreamCredentials | undefined,
  ): Router {
    const router = new Router(this.#app, {
      held: new HeldAnswers(parts.ledger),
      onSocketClosed: () => this.#gate.leave(),
      onError: (error, requestId, path) => logger.error({ err: error, requestId, path }, 'a request failed'),
    });
    const { environments } = this;
    router.add(new EvaluateRoute('evaluate', parts));
    router.add(new EvaluateRoute('batch', parts));
    router.add(new ValuesRoute(parts));
    router.add(
      new ExplainRoute({
        ...parts,
        pool,
        definitionsOf: (slot) => environments.entryOf(slot)?.reducer.definitionsInForce(),
      }),
    );
    router.add(new OfrepFlagRoute(parts));
    router.add(new OfrepBulkRoute(parts));
    const configParts = { ...parts, views: this.#views, bodies: this.#bodies };
    router.addGet(new ConfigRoute(configParts));
    router.addGet(new CachedConfigRoute(configParts));
    router.addGet(new KeySetRoute({ ...parts, store: this.store }));
    router.add(new StreamTokenRoute(parts));
    router.add(new EventsRoute({ ...parts, spool: this.#events.spool }));
    const streamParts = { ...parts, hub: this.streams };
    router.addSocket(new StreamSocketRoute(streamParts), { messageBytesMax: SOCKET_MESSAGE_BYTES_MAX });
    router.addGet(new StreamEventsRoute(streamParts));
    router.addGet(new OfrepStreamRoute(streamParts));
    if (downstream !== undefined) {
      addDownstreamRoutes(router, {
        credentials: downstream,
        waiters: this.#waiters,
        environments,
        store: this.store,
        views: this.#views,
        bodies: this.#bodies,
        isReady: () => this.isReady,
        spool: this.#events.spool,
      });
    }
    router.seal();
    return router;
  }

  #definitionsOf(slot: EnvironmentSlot): DefinitionSource | undefined {
    const { store } = this;
    const { environment } = slot;
    const reducer = this.environments.entryOf(slot)?.reducer;
    return (
      reducer && {
        findSigned: () => store.findSigned(environment),
        index: () => reducer.indexInForce(),
        findDefinitions: (hashes) => store.findDefinitions(environment, hashes),
      }
    );
  }

  /** Resolves when this process answers from the disk; from then on it follows the control plane, and it alone writes the store. */
  async lead(): Promise<void> {
    if (this.#state === 'following') {
      await this.#follower.close();
      await this.store.becomeWriter();
      this.store.forgetDeadReaders();
      await this.#follower.readOnce();
    }
    this.#state = 'leading';
    this.#closers.unshift(async () => {
      await this.#events.close(); // while there is somebody to take them
      this.#source.close(); // first: a poll that waits for the control plane is given up
      return this.#feed.close();
    });
    await this.#feed.start();
    this.#events.lead();
  }

  /** Resolves when this process answers what the store has; from then on it follows the store. */
  async follow(): Promise<void> {
    this.#state = 'following';
    this.#closers.unshift(() => this.#follower.close());
    await this.#follower.start();
  }

  /** Another process of this node wrote the store. */
  hearChange(change: StoreChange): void {
    if (this.#state === 'following') this.#follower.hear(change);
  }

  hearConfirmed(behind: ReadonlySet<string>): void {
    if (this.#state === 'following') this.#follower.confirm(behind);
  }

  /** A process that follows saw the kernel trap. What serves here is another revision: then it says nothing. */
  hearTrap(environmentId: string, revision: number): void {
    const entry = this.environments.find(environmentId);
    if (this.#state === 'leading' && entry?.slot.serving?.revision === revision) entry.reportTrap();
  }

  /** Another process of this node has died. */
  forgetDeadReaders(): void {
    if (this.#state === 'leading') this.store.forgetDeadReaders();
  }

  hearNodeReady(): void {
    this.#isNodeReady = true;
  }

  #trapped(environmentId: string): void {
    const entry = this.environments.find(environmentId);
    if (this.#state === 'leading') entry?.reportTrap();
    else this.#siblings?.onTrap(environmentId, entry?.slot.serving?.revision ?? 0);
  }

  /** Every environment that can be answered is, and it is known who may ask. */
  get isReady(): boolean {
    if (this.#state === 'following') return this.#isNodeReady && this.#follower.hasScanned;
    return this.#isNodeReady || this.#feed.isReady;
  }

  /** One line for the store and for each environment. */
  details(): string[] {
    return [
      `store ${this.store.status}`,
      ...this.environments.slots.map(
        ({ environment, serving }) => `${environment.environmentId} revision ${serving?.revision ?? 'none'}`,
      ),
    ];
  }

  /** `isShared`: other processes of this node listen on the same port. Resolves with the port. */
  async listen(host: string, port: number, isShared: boolean): Promise<number> {
    const listening = await (this.#tls?.listen(host, port, isShared) ?? listen(this.#app, host, port, isShared));
    this.#listening = listening;
    this.#closers.unshift(() => listening.close());
    return listening.port;
  }

  /** Serves what the certificate files hold now to new connections; without TLS it does nothing. Rejects with what is wrong with them. */
  async reloadCertificate(): Promise<void> {
    await this.#tls?.reload();
  }

  /** No new connections; resolves when pending answers are sent. */
  async drain(): Promise<void> {
    if (this.#listening === undefined) return;
    this.#listening.stopListening();
    this.#waiters.close();
    await this.streams.drain();
    await this.#router.drain(DRAIN_DEADLINE_MS);
  }

  /** Drains and closes everything. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.drain();
    for (const close of this.#closers) await close();
  }
}

function answersOf(kernel: SnapshotKernel, { active }: EnvironmentSlot): { evaluations: number; errors: number } {
  return active === undefined ? { evaluations: 0, errors: 0 } : kernel.answersOf(active.resident);
}
