import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CompilePool } from '@guidon/pool';
import { type ChangeBus, type EnvironmentRef, PlatformError, VERSION } from '@guidon/protocol';
import type { EventFeed } from '@guidon/protocol/events';
import type { MetricFamily } from '@guidon/protocol/metrics';
import type { TlsFiles } from '@guidon/protocol/tls-files';
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { type Actor, SYSTEM_ACTOR } from './admin-api/actor.js';
import { createAdminApp, reloadCertificate } from './admin-api/admin-app.js';
import { Authenticator } from './admin-api/authenticate.js';
import { IdempotencyKeys } from './admin-api/idempotency.js';
import { collectOpenApi, registerReference } from './admin-api/openapi.js';
import { assertAuthorised, authorise } from './admin-api/policy.js';
import { ResourceReader } from './admin-api/resource-reader.js';
import { registerRoutes } from './admin-api/routes.js';
import { BoundedRecorder } from './audit/bounded-recorder.js';
import { DenialRecorder } from './audit/denials.js';
import { TreeHeads } from './audit/tree-heads.js';
import { raiseEpochs } from './backup/raise-epochs.js';
import type { ChangeOutcome } from './commit/change.js';
import { Committer } from './commit/committer.js';
import type { HistoryRetention } from './commit/definition-history.js';
import type { ControlPlaneCore } from './core.js';
import { NODES } from './credentials/platform-credential-routes.js';
import { PlatformCredentialService } from './credentials/platform-credential-service.js';
import { EventIntake } from './events/event-intake.js';
import { registerEventRoutes } from './events/event-routes.js';
import { EventSweep } from './events/event-sweep.js';
import { Feed } from './feed/feed.js';
import { FeedWaiters } from './feed/feed-waiters.js';
import { type FeedRetention, FeedTrimmer } from './feed/trim-feeds.js';
import { Identity } from './identity.js';
import { RequestRates } from './limits/request-rates.js';
import { ControlPlaneMetrics } from './metrics/control-plane-metrics.js';
import { RequestDurations } from './metrics/request-durations.js';
import { NodeDirectory } from './nodes/node-directory.js';
import { Propagation } from './nodes/propagation.js';
import type { OidcOptions } from './oidc/oidc-client.js';
import { loadEnvironmentStates } from './publish/environment-states.js';
import { registerInternalRoutes } from './publish/internal-routes.js';
import { OutboxPublisher } from './publish/outbox-publisher.js';
import { ReleaseGate } from './releases/release-gate.js';
import { SessionDirectory } from './sessions/session-directory.js';
import { SigningKeys } from './signing-keys/signing-keys.js';
import { ControlStore } from './store/control-store.js';
import { STORE_MIGRATIONS } from './store-migrations.js';
import { findTenant } from './tenants/tenant-read-model.js';
import { TenantRemovals } from './tenants/tenant-removals.js';
import type { DispatchClock } from './webhooks/endpoint-lane.js';
import { PolicyHooks } from './webhooks/policy-hooks.js';
import { Webhooks } from './webhooks/webhooks.js';

const MAINTENANCE_INTERVAL_MS = 60_000;
const TREE_HEAD_INTERVAL_MS = 60_000;
const RELEASE_INTERVAL_MS = 1_000;
/** Between a store failure and its callback: the 503 of the requests it met are on their way by then. */
const FAILURE_ANSWERS_MS = 250;

export interface ControlPlaneOptions {
  /** Holds `store/` and `keys/`; made when absent. One process at a time. */
  readonly dataDirectory: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Without it the admin API speaks plain HTTP. */
  readonly tls?: TlsFiles;
  /** Addresses and CIDR ranges of proxies whose `X-Forwarded-*` count; default none. */
  readonly trustedProxies?: readonly string[];
  /** What people and nodes call, when it is not what this listens on: scheme, host, port and path before `/api`. */
  readonly publicUrl?: string;
  /** Where people may log in besides; default: with passwords alone. */
  readonly oidc?: OidcOptions | undefined;
  /** Not closed by the control plane. */
  readonly bus: ChangeBus;
  /** Where events come from beside HTTP; closed by the control plane, whose store they go into. */
  readonly eventFeed?: EventFeed | undefined;
  readonly logger: Logger;
  /** Called once, when a commit failed or may have failed and its requests have been answered: end the process with SIGKILL and start it anew (I3). */
  readonly onStoreFailure?: (error: Error) => void;
  /** Between two signatures of the heads of audit logs that grow; default a minute. */
  readonly treeHeadIntervalMs?: number;
  /** Addresses and CIDR ranges that webhooks may call although they are not public, then also by plain HTTP and at any port; default none. */
  readonly webhookAllow?: readonly string[];
  /** Times attempts of webhooks; default the clock of the process. */
  readonly webhookClock?: DispatchClock;
  /** Canaries serve each revision for so long before the other nodes get it; default: all get it at once. */
  readonly canaryMs?: number;
  /** How long what revisions served can be read; default HISTORY_RETENTION. */
  readonly historyRetention?: HistoryRetention;
  /** How long the rows of feeds are kept; default FEED_RETENTION. */
  readonly feedRetention?: FeedRetention;
  /** Epoch milliseconds; default Date.now. */
  readonly now?: () => number;
  /** Milliseconds on a clock that nobody sets, which ends sessions and login limits; default performance.now. */
  readonly monotonicNow?: () => number;
}

export interface RunningControlPlane {
  /** What this listens on. */
  readonly url: string;
  /** What people and nodes call: `publicUrl` of the options, else `url`. */
  readonly publicUrl: string;
  readonly port: number;
  /** Fingerprint of the root key: what nodes and SDKs pin. */
  readonly trustRoot: string;
  /** Where the first admin sets the installation up; absent once that has happened. */
  readonly setupUrl?: string;
  /** A new `node` credential; the token is not kept. */
  issueNodeCredential(name: string): Promise<string>;
  /** An admin token for the process that runs this: never written anywhere, valid until `close`. Audited as `system`. */
  createSystemCredential(): Promise<string>;
  /** How it is now. Cheap: may be asked many times a second. */
  status(): ControlPlaneStatus;
  /** For the metrics page; some tell of the time since this was asked last. */
  metrics(): MetricFamily[];
  /** Serves what the certificate files hold now to new connections; without TLS it does nothing. Throws what is wrong with them. */
  reloadCertificate(): void;
  /** Stops accepting, lets requests and publishing finish, closes the store. */
  close(): Promise<void>;
}

export interface ControlPlaneStatus {
  /** Why no write is accepted; undefined: writes are. */
  readonly obstacle: string | undefined;
  /** Of the store's file system. */
  readonly freeBytes: number;
}

/** Opens the store, resumes publishing and serves the admin API. */
export async function startControlPlane(options: ControlPlaneOptions): Promise<RunningControlPlane> {
  const { dataDirectory, logger, bus, now = Date.now } = options;
  assertKeysAreThere(dataDirectory);
  const signingKeys = SigningKeys.open(join(dataDirectory, 'keys'), now());
  const store = await ControlStore.open({
    directory: join(dataDirectory, 'store'),
    migrations: STORE_MIGRATIONS,
    onMigrated: ({ summary }) => logger.info({ summary }, 'the store was migrated'),
    onFailure: (error) => {
      logger.error({ err: error }, 'the store failed; no further write is served');
      setTimeout(() => options.onStoreFailure?.(error), FAILURE_ANSWERS_MS);
    },
  });
  const pool = new CompilePool();
  try {
    const nodes = new NodeDirectory(now);
    const { canaryMs } = options;
    const releases = await ReleaseGate.open(loadEnvironmentStates(store), { canaryMs, nodes, store, logger, now });
    const publisher = new OutboxPublisher({ store, bus, logger, releases });
    releases.onRelease((environment) => publisher.wake('config', environment));
    const onCommitted = ({ environments }: ChangeOutcome): void => {
      for (const { environment, epoch, revision, accessSequence, isRaised, isAccessRaised } of environments) {
        releases.set({ ...environment, epoch, revision, accessSequence });
        if (isRaised) publisher.wake('config', environment);
        if (isAccessRaised) publisher.wake('access', environment);
      }
    };
    const resources = new ResourceReader(store);
    const assertMayServe = (actor: Actor, environment: EnvironmentRef): void =>
      assertAuthorised(authorise(actor, 'environment.serve', resources.resourceOfEnvironment(environment)));
    const feed = new Feed(store);
    const recorder = new BoundedRecorder(store, logger, now);
    const policyHooks = new PolicyHooks(store, recorder, () => webhooks.dispatcher);
    const feedWaiters = new FeedWaiters(feed);
    const feedTrimmer = new FeedTrimmer(store, now, options.feedRetention);
    const committer = new Committer({
      store,
      feed,
      pool,
      signingKeys,
      now,
      onCommitted,
      assertMayServe,
      review: (write, change, prepared) => policyHooks.review(write, change, prepared),
      retention: options.historyRetention,
    });
    const treeHeads = new TreeHeads(store, signingKeys, now);
    const removals = new TenantRemovals(store, logger);
    const events = new EventIntake({ store, logger, now });
    const sweep = new EventSweep({ store, now });
    const core: ControlPlaneCore = {
      store,
      committer,
      feed,
      pool,
      signingKeys,
      treeHeads,
      removals,
      releases,
      nodes,
      bus,
      events,
      logger,
      now,
    };
    const propagation = new Propagation(nodes);
    const webhooks = new Webhooks(core, {
      keyDirectory: join(dataDirectory, 'keys'),
      allow: options.webhookAllow ?? [],
      propagation,
      clock: options.webhookClock,
    });
    const { monotonicNow = () => performance.now() } = options;
    const sessions = new SessionDirectory({ store, logger, now, monotonicNow });
    const authenticator = new Authenticator(store, sessions, now);
    const idempotencyKeys = new IdempotencyKeys(store, now);
    const denials = new DenialRecorder(recorder, logger);
    const rates = new RequestRates((tenantId) => findTenant(store, tenantId)?.quotas);
    const app = createAdminApp({
      logger,
      guard: { authenticator, resources, rates, onDenied: (denial) => denials.record(denial) },
      idempotencyKeys,
      propagation,
      tls: options.tls,
      trustedProxies: options.trustedProxies,
      publicUrl: options.publicUrl,
    });
    let publicUrl = options.publicUrl ?? '';
    const identity = new Identity(core, {
      directory: sessions,
      recorder,
      monotonicNow,
      oidc: options.oidc,
      publicUrl: () => publicUrl,
    });
    const durations = new RequestDurations();
    app.addHook(
      'onResponse',
      async ({ method, routeOptions: { url: route = 'none' } }, { statusCode: status, elapsedTime }) => {
        durations.observe({ route, method, status }, elapsedTime / 1_000);
      },
    );
    const metrics = new ControlPlaneMetrics({
      store,
      publisher,
      feedWaiters,
      nodes,
      events,
      durations,
      webhookOutcomes: () => webhooks.dispatcher.outcomes,
      webhookCount: () => webhooks.dispatcher.laneCount,
      version: VERSION,
    });
    await collectOpenApi(app);
    app.register(async (routes) => {
      identity.register(routes);
      registerRoutes(routes, core, { resources, rates, feedWaiters });
      webhooks.register(routes);
      registerInternalRoutes(routes, core);
      registerEventRoutes(routes, core);
      registerReference(routes);
    });
    const raisedCount = await raiseEpochs(core);
    if (raisedCount > 0) logger.warn({ environments: raisedCount }, 'a backup was restored; every epoch was raised');
    const listeningUrl = await app.listen({ host: options.host ?? '127.0.0.1', port: options.port });
    const url = options.tls === undefined ? listeningUrl : listeningUrl.replace(/^http:/, 'https:');
    publicUrl = options.publicUrl ?? url;
    publisher.resume();
    webhooks.dispatcher.start();
    options.eventFeed?.subscribe(async (lines) => void (await events.take(lines)));
    void removals.resume({ isStart: true });
    const sweeps = { idempotencyKeys, sweep, feedTrimmer };
    const maintenance = setInterval(() => maintain(core, sweeps), MAINTENANCE_INTERVAL_MS);
    maintenance.unref();
    const signing = setInterval(() => signHeads(core), options.treeHeadIntervalMs ?? TREE_HEAD_INTERVAL_MS);
    signing.unref();
    const looking = setInterval(() => void releases.look(), RELEASE_INTERVAL_MS);
    looking.unref();
    const setupToken = await identity.setup.open();
    return {
      url,
      publicUrl,
      port: portOf(app),
      trustRoot: signingKeys.trustRoot,
      ...(setupToken === undefined ? {} : { setupUrl: `${publicUrl}/setup#${setupToken}` }),
      issueNodeCredential: (name) => issueNodeCredential(core, name),
      createSystemCredential: () => Promise.resolve(authenticator.createSystemCredential()),
      status: () => ({ obstacle: store.findObstacle(), freeBytes: store.freeBytes() }),
      metrics: () => metrics.families(),
      reloadCertificate: () => {
        if (options.tls !== undefined) reloadCertificate(app, options.tls);
      },
      close: async () => {
        clearInterval(maintenance);
        clearInterval(signing);
        feedWaiters.close();
        clearInterval(looking);
        metrics.close();
        await app.close();
        await webhooks.dispatcher.close();
        await options.eventFeed?.close();
        await events.close();
        await treeHeads.close();
        await feedTrimmer.close();
        await removals.close();
        await publisher.close();
        await pool.close();
        await store.close();
      },
    };
  } catch (error) {
    await pool.close();
    await store.close();
    throw error;
  }
}

/** New keys beside an old store would sign what no node trusts any more; the operator has to know. */
function assertKeysAreThere(dataDirectory: string): void {
  const store = join(dataDirectory, 'store', 'data.mdb');
  const keySet = join(dataDirectory, 'keys', 'key-set');
  if (!existsSync(store) || existsSync(keySet)) return;
  throw new PlatformError(
    'storage-unavailable',
    `${keySet} is missing although there is a store: restore the keys folder, nodes trust no other key`,
  );
}

function maintain(
  { store, logger, removals }: ControlPlaneCore,
  {
    idempotencyKeys,
    sweep,
    feedTrimmer,
  }: { readonly idempotencyKeys: IdempotencyKeys; readonly sweep: EventSweep; readonly feedTrimmer: FeedTrimmer },
): void {
  store.maintain();
  if (store.failure === undefined) {
    sweep.sweep().catch((error: unknown) => logger.warn({ err: error }, 'old events were not removed'));
  }
  void removals.resume({ isStart: false });
  feedTrimmer.run().catch((error: unknown) => logger.warn({ err: error }, 'old rows of feeds were not removed'));
  idempotencyKeys
    .sweep()
    .catch((error: unknown) => logger.warn({ err: error }, 'expired idempotency records were not removed'));
}

function signHeads({ store, treeHeads, logger }: ControlPlaneCore): void {
  if (store.failure !== undefined) return;
  treeHeads.signGrown().catch((error: unknown) => logger.warn({ err: error }, 'audit logs were not signed'));
}

async function issueNodeCredential(core: ControlPlaneCore, name: string): Promise<string> {
  const { change, token } = new PlatformCredentialService(core, NODES).planCreation({ name, notAfter: null });
  const write = { actor: SYSTEM_ACTOR, requestId: 'system', dryRun: false };
  await core.committer.commit(write, undefined, () => change);
  return token;
}

function portOf(app: FastifyInstance): number {
  const [address] = app.addresses();
  if (typeof address !== 'object') throw new Error('the server has no address after listen');
  return address.port;
}
