import { randomBytes } from 'node:crypto';
import { CompilePool } from '@guidon/pool';
import type { ChangeBus } from '@guidon/protocol';
import { findCredential } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import { AccessDirectory } from './auth/access-directory.js';
import { HealthServer } from './metrics/health-server.js';
import { MetricsPage } from './metrics/metrics-page.js';
import { Router } from './route.js';
import { EvaluateRoute } from './routes/evaluate-route.js';
import { ExplainRoute } from './routes/explain-route.js';
import { HttpConfigSource } from './snapshot-feed/http-config-source.js';
import { SnapshotFeed } from './snapshot-feed/snapshot-feed.js';
import { SnapshotKernel } from './snapshot-kernel.js';
import { SnapshotStore } from './snapshot-store/snapshot-store.js';
import { createApp, listen } from './uws-app.js';

export interface ServerOptions {
  /** The node's own directory; shared with nobody. */
  readonly dataDirectory: string;
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** On loopback, whatever `host` is. */
  readonly metricsPort: number;
  readonly controlPlaneUrl: string;
  readonly nodeCredential: string;
  /** Fingerprint of the root key; without it the first one seen is trusted and kept. */
  readonly trustRoot?: string;
  /** Makes changes arrive at once; without it they arrive by the next poll. */
  readonly bus?: ChangeBus;
  readonly logger: pino.Logger;
  readonly pollIntervalMs?: number;
  /** Answers carry `X-Config-Age` once the config has not been confirmed for this long. */
  readonly staleAfterMs?: number;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  readonly metricsUrl: string;
  /** Drains: not ready, no new connections, pending answers finish, then everything is closed. */
  close(): Promise<void>;
  /** Revision that serves; undefined before the first. */
  revisionOf(environmentId: string): number | undefined;
}

const DEFAULT_HOST = '127.0.0.1';
const POLL_INTERVAL_MS = 5_000;
const STALE_AFTER_MS = 60_000;
const DRAIN_DEADLINE_MS = 10_000;
const AGE_INTERVAL_MS = 1_000;

/** Starts one data-plane node: it answers from its own disk at once and follows the control plane from then on. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { logger, host = DEFAULT_HOST } = options;
  const closers: (() => Promise<void> | void)[] = [];
  const onClose = (close: () => Promise<void> | void): void => void closers.unshift(close);
  try {
    // The probe of the store and the kernel's compilation do not wait for each other.
    const [store, kernel] = await Promise.all([
      SnapshotStore.open(options.dataDirectory, logger),
      SnapshotKernel.create(logger),
    ]);
    onClose(() => store.close());
    const pool = new CompilePool();
    onClose(() => pool.close());
    const directory = new AccessDirectory(() => feed.isReady);
    const source = new HttpConfigSource({ url: options.controlPlaneUrl, nodeCredential: options.nodeCredential });
    const feed = new SnapshotFeed({
      nodeId: findCredential(options.nodeCredential)?.credentialId ?? randomBytes(11).toString('hex'),
      source,
      bus: options.bus,
      parts: { store, pool, kernel, directory, logger, now: Date.now },
      trustRoot: options.trustRoot,
      pollIntervalMs: options.pollIntervalMs ?? POLL_INTERVAL_MS,
      logger,
    });
    kernel.onTrap((slot) => {
      feed.entryOf(slot)?.reportTrap();
    });
    const app = createApp();
    const router = new Router(app, {
      onError: (error, requestId, path) => logger.error({ err: error, requestId, path }, 'a request failed'),
    });
    const parts = { directory, kernel, now: Date.now };
    router.add(new EvaluateRoute('evaluate', parts));
    router.add(new EvaluateRoute('batch', parts));
    router.add(
      new ExplainRoute({ ...parts, pool, definitionsOf: (slot) => feed.entryOf(slot)?.reducer.definitionsInForce() }),
    );
    router.seal();
    await feed.start();
    onClose(() => {
      source.close();
      return feed.close();
    });
    const staleAfterMs = options.staleAfterMs ?? STALE_AFTER_MS;
    const ageTimer = setInterval(() => {
      for (const slot of feed.slots) slot.markAge(performance.now(), staleAfterMs);
    }, AGE_INTERVAL_MS);
    onClose(() => clearInterval(ageTimer));
    const metrics = new MetricsPage({ router, feed, store, kernel, pool, version: '0.1.0' });
    const health = await HealthServer.listen({
      host: DEFAULT_HOST,
      port: options.metricsPort,
      metrics,
      logger,
      isReady: () => feed.isReady,
      details: () => readyDetails(feed, store),
    });
    onClose(() => health.close());
    const listening = await listen(app, host, options.port);
    onClose(() => listening.close());
    const { port } = listening;
    logger.info({ port, metricsPort: health.port }, 'data plane listening');
    return {
      url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
      port,
      metricsUrl: `http://${DEFAULT_HOST}:${health.port}`,
      revisionOf: (environmentId) => feed.find(environmentId)?.slot.active?.revision,
      close: once(async () => {
        health.startDraining();
        listening.stopListening();
        await router.drain(DRAIN_DEADLINE_MS);
        await closeAll(closers);
      }),
    };
  } catch (error) {
    await closeAll(closers);
    throw error;
  }
}

function readyDetails(feed: SnapshotFeed, store: SnapshotStore): string[] {
  return [
    `store ${store.status}`,
    ...feed.entries.map(
      ({ environment, slot }) => `${environment.environmentId} revision ${slot.active?.revision ?? 'none'}`,
    ),
  ];
}

async function closeAll(closers: readonly (() => Promise<void> | void)[]): Promise<void> {
  for (const close of closers) await close();
}

function once(task: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= task();
    return running;
  };
}
