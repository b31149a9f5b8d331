import { fileURLToPath } from 'node:url';
import { readTlsFiles } from '@guidon/protocol/tls-files';
import { HealthServer, renderFamilies, Supervisor } from '@guidon/server/processes';
import { busSettingsFrom, type NatsOptions } from '../options/nats-options.js';
import { type OidcCliOptions, oidcFrom } from '../options/oidc-options.js';
import type { SupervisedControlPlane } from './control-plane-process.js';
import { prepareDataFolder } from './data-folder.js';
import { type ExposureOptions, exposureOf } from './exposure.js';
import { findFreePort, mustBeFree, mustDiffer } from './free-port.js';
import { createLogger } from './logger.js';
import { checkBus } from './open-bus.js';
import type { ControlPlaneSettings } from './open-control-plane.js';
import { closeOnSignal, reloadOnHangup } from './shutdown.js';

export interface ControlPlaneOptions extends ExposureOptions, NatsOptions, OidcCliOptions {
  readonly data: string;
  readonly port: number;
  /** Default: the port after `port`, or the next free one. */
  readonly metricsPort?: number;
  readonly publicUrl?: string;
  readonly webhookAllow?: readonly string[];
  readonly nodeCredentialFile?: string;
  /** False: somebody else starts this process anew. */
  readonly supervisor: boolean;
  readonly hangSeconds: number;
  readonly canarySeconds: number;
  readonly logLevel: string;
}

const METRICS_HOST = '127.0.0.1';

/** The admin API and the HTTP feed for nodes: in a child process that this one watches, or in this one. */
export async function runControlPlane(options: ControlPlaneOptions): Promise<void> {
  const exposure = exposureOf(options);
  const dataDirectory = prepareDataFolder(options.data);
  const oidc = oidcFrom(options);
  mustDiffer({ '--port': options.port, '--metrics-port': options.metricsPort ?? 0 });
  await mustBeFree(options.host, options.port, '--port');
  const metricsPort = await chooseMetricsPort(options);
  const bus = busSettingsFrom(options);
  if (bus !== undefined) await checkBus(bus, createLogger(options.logLevel));
  const settings: ControlPlaneSettings = {
    dataDirectory,
    host: options.host,
    port: options.port,
    ...exposure,
    ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
    ...(options.webhookAllow === undefined ? {} : { webhookAllow: options.webhookAllow }),
    ...(oidc === undefined ? {} : { oidc }),
    ...(bus === undefined ? {} : { bus }),
    ...(options.canarySeconds === 0 ? {} : { canaryMs: options.canarySeconds * 1000 }),
    ...(options.nodeCredentialFile === undefined ? {} : { nodeCredentialFile: options.nodeCredentialFile }),
  };
  const run = options.supervisor ? runSupervised : runHere;
  const metricsUrl = await run(settings, metricsPort, options);
  console.log(`health: ${metricsUrl}/readyz`);
}

async function runSupervised(
  settings: ControlPlaneSettings,
  metricsPort: number,
  { hangSeconds, logLevel }: ControlPlaneOptions,
): Promise<string> {
  const { tls } = settings;
  const supervisor = await Supervisor.start<SupervisedControlPlane>({
    entry: fileURLToPath(new URL('./control-plane-process.js', import.meta.url)),
    name: 'control plane',
    child: { ...settings, logLevel, processIndex: 0 },
    metricsPort,
    hangMs: hangSeconds * 1000,
    logger: createLogger(logLevel),
    onGiveUp: (error) => {
      console.error(`guidon: ${error.message}`);
      process.exit(1);
    },
  });
  closeOnSignal(() => supervisor.close());
  if (tls !== undefined) {
    reloadOnHangup(() => {
      readTlsFiles(tls);
      supervisor.reloadCertificate();
    });
  }
  return supervisor.metricsUrl;
}

async function runHere(
  settings: ControlPlaneSettings,
  metricsPort: number,
  { logLevel }: ControlPlaneOptions,
): Promise<string> {
  const { describeStatus, openControlPlane } = await import('./open-control-plane.js');
  const logger = createLogger(logLevel);
  const controlPlane = await openControlPlane(settings, logger);
  const health = await HealthServer.listen({
    host: METRICS_HOST,
    port: metricsPort,
    metrics: { render: async () => renderFamilies(controlPlane.metrics()) },
    logger,
    isLive: () => true,
    isReady: () => controlPlane.status().obstacle === undefined,
    details: () => describeStatus(controlPlane.status()),
  });
  closeOnSignal(async () => {
    health.startDraining();
    await controlPlane.close();
    await health.close();
  });
  if (settings.tls !== undefined) reloadOnHangup(() => controlPlane.reloadCertificate());
  return `http://${METRICS_HOST}:${health.port}`;
}

async function chooseMetricsPort({ port, metricsPort }: ControlPlaneOptions): Promise<number> {
  if (metricsPort === undefined) {
    return port === 0 ? 0 : findFreePort(METRICS_HOST, Math.min(port + 1, 65_535), new Set([port]));
  }
  await mustBeFree(METRICS_HOST, metricsPort, '--metrics-port');
  return metricsPort;
}
