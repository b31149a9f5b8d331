import { join } from 'node:path';
import { type RunningControlPlane, startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus, PlatformError } from '@guidon/protocol';
import { parseNodeQuotas, type RunningServer, startServer } from '@guidon/server';
import { prepareDataFolder } from './data-folder.js';
import { type ExposureOptions, exposureOf } from './exposure.js';
import { findFreePort } from './free-port.js';
import { createLogger } from './logger.js';
import { findPrivateFile, writePrivateFile } from './private-file.js';
import { type DemoKeys, hasTenant, seedDemo } from './seed-demo.js';
import { closeOnSignal } from './shutdown.js';
import { dieOnStoreFailure } from './store-failure.js';
import { startTracing } from './tracing.js';

export interface DevOptions extends ExposureOptions {
  readonly data: string;
  readonly adminPort: number;
  readonly port: number;
  readonly metricsPort: number;
  /** Bytes. */
  readonly snapshotMemory: number;
  /** Units of work; see DataPlaneOptions. */
  readonly inlineCostMax: number;
  /** JSON; see `parseNodeQuotas`. */
  readonly quotas?: string;
  readonly webhookAllow?: readonly string[];
  readonly logLevel: string;
}

/** How long the node may take to serve the demo after a start, milliseconds. */
const READY_MS_MAX = 30_000;

/** Control plane and one data-plane node in this process, joined by an in-process bus and the HTTP feed that separate processes use. */
export async function runDev(options: DevOptions): Promise<void> {
  const { host } = options;
  const { trustedProxies } = exposureOf(options);
  const quotas = options.quotas === undefined ? undefined : parseNodeQuotas(options.quotas);
  const dataDirectory = prepareDataFolder(options.data);
  const keysFile = join(dataDirectory, 'dev-keys.json');
  const kept = readDevKeys(keysFile);
  const adminPort = await findFreePort(host, options.adminPort);
  const port = await findFreePort(host, options.port, new Set([adminPort]));
  const metricsPort = await findFreePort('127.0.0.1', options.metricsPort, new Set([adminPort, port]));
  const logger = createLogger(options.logLevel);
  const bus = new InProcessChangeBus();
  /** Newest first: what was started last is closed first, also when a later start fails. */
  const closers: (() => Promise<void>)[] = [() => bus.close(), await startTracing('guidon', logger)];
  const close = async (): Promise<void> => {
    for (const closePart of closers) await closePart();
  };
  try {
    const controlPlane = await startControlPlane({
      dataDirectory: join(dataDirectory, 'control-plane'),
      host,
      port: adminPort,
      ...(trustedProxies === undefined ? {} : { trustedProxies }),
      ...(options.webhookAllow === undefined ? {} : { webhookAllow: options.webhookAllow }),
      bus,
      logger,
      onStoreFailure: dieOnStoreFailure,
    });
    closers.unshift(() => controlPlane.close());
    const keys = await ensureDevKeys(controlPlane, kept, keysFile);
    const server = await startServer({
      dataDirectory: join(dataDirectory, 'node'),
      host,
      port,
      metricsPort,
      controlPlaneUrl: controlPlane.url,
      nodeCredential: keys.nodeCredential,
      trustRoot: controlPlane.trustRoot,
      snapshotMemoryBytes: options.snapshotMemory,
      inlineCostMax: options.inlineCostMax,
      bus,
      logger,
      ...(quotas === undefined ? {} : { quotas }),
    });
    closers.unshift(() => server.close());
    closeOnSignal(close);
    await untilReady(server);
    printWelcome(controlPlane, server, keys, options);
  } catch (error) {
    await close();
    throw error;
  }
}

type DevKeys = DemoKeys & { readonly nodeCredential: string };
const DEV_KEY_NAMES = ['tenantId', 'serverKey', 'webKey', 'nodeCredential'] as const;

/** The demo's keys stand in a private file beside the data, so that a restart prints the same ones. */
function readDevKeys(path: string): DevKeys | undefined {
  const text = findPrivateFile(path);
  if (text === undefined) return undefined;
  try {
    const members = new Map<string, unknown>(Object.entries(JSON.parse(text)));
    const [tenantId, serverKey, webKey, nodeCredential] = DEV_KEY_NAMES.map((name) => {
      const value = members.get(name);
      if (typeof value !== 'string') throw new Error(`${name} is missing`);
      return value;
    });
    if (tenantId && serverKey && webKey && nodeCredential) return { tenantId, serverKey, webKey, nodeCredential };
    throw new Error('a key is empty');
  } catch (cause) {
    throw new PlatformError('malformed-body', `${path} cannot be read as the demo's keys; delete it to get new ones`, {
      cause,
    });
  }
}

/** Keys of a store that has been deleted since open nothing: then the demo is made anew. */
async function ensureDevKeys(
  controlPlane: RunningControlPlane,
  kept: DevKeys | undefined,
  path: string,
): Promise<DevKeys> {
  const credential = await controlPlane.createSystemCredential();
  if (kept !== undefined && (await hasTenant(controlPlane.url, credential, kept.tenantId))) return kept;
  const demo = await seedDemo(controlPlane.url, credential);
  const keys = { ...demo, nodeCredential: await controlPlane.issueNodeCredential('dev node') };
  writePrivateFile(path, `${JSON.stringify(keys, null, 2)}\n`);
  return keys;
}

async function untilReady(server: RunningServer): Promise<void> {
  const deadlineMs = performance.now() + READY_MS_MAX;
  while (performance.now() < deadlineMs) {
    const answer = await fetch(`${server.metricsUrl}/readyz`).catch(() => undefined);
    if (answer?.status === 200) return;
    await new Promise((wake) => setTimeout(wake, 20));
  }
  throw new PlatformError(
    'not-ready',
    `the data plane was not ready within ${READY_MS_MAX / 1000} s; run again with --log-level info`,
  );
}

function printWelcome(
  controlPlane: RunningControlPlane,
  server: RunningServer,
  keys: DevKeys,
  options: DevOptions,
): void {
  const movedNote = (url: string, wished: number) =>
    wished === 0 || url.endsWith(`:${wished}`) ? '' : `   (port ${wished} was taken)`;
  const example = `{"flags":"greeting","context":{"targetingKey":"user-1","country":"DE"}}`;
  const lines = [
    '',
    'Guidon is running.',
    `  admin API      ${controlPlane.url}${movedNote(controlPlane.url, options.adminPort)}   reference: ${controlPlane.url}/docs`,
    `  evaluate API   ${server.url}${movedNote(server.url, options.port)}`,
    `  health         ${server.metricsUrl}/readyz${movedNote(server.metricsUrl, options.metricsPort)}`,
    ...(controlPlane.setupUrl === undefined ? [] : [`  first admin    ${controlPlane.setupUrl}   (works once)`]),
    `  demo tenant    ${keys.tenantId}`,
    `  server key     ${keys.serverKey}`,
    `  browser key    ${keys.webKey}`,
    `  trust root     ${controlPlane.trustRoot}`,
    '',
    'Try it:',
    `  curl -s ${server.url}/v1/evaluate -H 'Authorization: Bearer ${keys.serverKey}' -H 'Content-Type: application/json' -d '${example}'`,
    '',
    `Data is kept in ${options.data}. Ctrl-C stops.`,
  ];
  console.log(lines.join('\n'));
}
