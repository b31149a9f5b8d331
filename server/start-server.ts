import { DataPlane, type DataPlaneOptions } from './data-plane.js';
import { HealthServer } from './metrics/health-server.js';
import { urlOf } from './url-of.js';

export interface ServerOptions extends DataPlaneOptions {
  readonly host?: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** On loopback, whatever `host` is. */
  readonly metricsPort: number;
}

export interface RunningServer {
  readonly url: string;
  readonly port: number;
  readonly metricsUrl: string;
  /** Serves what the certificate files hold now to new connections; without TLS it does nothing. Rejects with what is wrong with them. */
  reloadCertificate(): Promise<void>;
  /** Drains: not ready, no new connections, pending answers finish, then everything is closed. */
  close(): Promise<void>;
  /** Revision that serves; undefined before the first. */
  revisionOf(environmentId: string): number | undefined;
}

const DEFAULT_HOST = '127.0.0.1';

/** Starts one data-plane node in this process: it answers from its own disk at once and follows the control plane from then on. */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { logger, host = DEFAULT_HOST } = options;
  const plane = await DataPlane.open(options);
  let health: HealthServer | undefined;
  const close = async (): Promise<void> => {
    health?.startDraining();
    await plane.close();
    await health?.close();
  };
  try {
    await plane.lead();
    health = await HealthServer.listen({
      host: DEFAULT_HOST,
      port: options.metricsPort,
      metrics: plane.metrics,
      logger,
      isLive: () => true,
      isReady: () => plane.isReady,
      details: () => plane.details(),
    });
    const metricsPort = health.port;
    const port = await plane.listen(host, options.port, false);
    logger.info({ port, metricsPort }, 'data plane listening');
    return {
      url: urlOf(host, port, options.tls === undefined ? 'http' : 'https'),
      port,
      metricsUrl: urlOf(DEFAULT_HOST, metricsPort),
      reloadCertificate: () => plane.reloadCertificate(),
      revisionOf: (environmentId) => plane.environments.find(environmentId)?.slot.serving?.revision,
      close: once(close),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

function once(task: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined;
  return () => {
    running ??= task();
    return running;
  };
}
