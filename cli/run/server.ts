import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BusSettings, PlatformError } from '@guidon/protocol';
import { findCredential, generateCredential } from '@guidon/protocol/signed-config';
import { readCaFile } from '@guidon/protocol/tls-files';
import { parseNodeQuotas, type RunningProcessGroup } from '@guidon/server/processes';
import { busSettingsFrom, type NatsOptions } from '../options/nats-options.js';
import { prepareDataFolder } from './data-folder.js';
import { type ExposureOptions, exposureOf } from './exposure.js';
import { mustBeFree, mustDiffer } from './free-port.js';
import { createLogger } from './logger.js';
import { checkBus, openBus, openEvents } from './open-bus.js';
import { findPrivateFile, readPrivateFile, writePrivateFile } from './private-file.js';
import { closeOnSignal, reloadOnHangup } from './shutdown.js';
import { startTracing } from './tracing.js';

/** Of every data-plane node, whoever feeds it. */
interface NodeOptions extends ExposureOptions {
  readonly nodeCredentialFile: string;
  readonly downstreamCredentialFile?: string;
  readonly trustRoot?: string;
  readonly data: string;
  readonly port: number;
  readonly metricsPort: number;
  /** Bytes. */
  readonly snapshotMemory: number;
  /** Units of work; see DataPlaneOptions. */
  readonly inlineCostMax: number;
  /** JSON; see `parseNodeQuotas`. */
  readonly quotas?: string;
  readonly processes: number;
  readonly hangSeconds: number;
  readonly logLevel: string;
}

export interface ServerOptions extends NodeOptions, NatsOptions {
  readonly canary?: boolean;
  readonly controlPlane: string;
  readonly controlPlaneCa?: string;
}

export interface EdgeOptions extends NodeOptions {
  readonly upstream: string;
  readonly upstreamCa?: string;
}

/** Where a node is fed from. */
interface Feed {
  readonly isEdge: boolean;
  readonly isCanary?: boolean;
  readonly controlPlaneUrl: string;
  readonly controlPlaneCa?: string;
}

/** A data-plane node fed by a control plane, over HTTP and perhaps NATS. */
export function runServer(options: ServerOptions): Promise<void> {
  const { controlPlane, controlPlaneCa, canary } = options;
  const ca = controlPlaneCa === undefined ? {} : { controlPlaneCa: readCaFile(controlPlaneCa, '--control-plane-ca') };
  const isCanary = canary === true ? { isCanary: true } : {};
  const feed = { isEdge: false, controlPlaneUrl: controlPlane, ...ca, ...isCanary };
  return runNode(options, feed, busSettingsFrom(options));
}

/** A data-plane node fed by another one. */
export function runEdge(options: EdgeOptions): Promise<void> {
  const { upstream, upstreamCa } = options;
  const ca = upstreamCa === undefined ? {} : { controlPlaneCa: readCaFile(upstreamCa, '--upstream-ca') };
  return runNode(options, { isEdge: true, controlPlaneUrl: upstream, ...ca }, undefined);
}

/** In this process, or in several under this one, which then answers health and metrics alone. */
async function runNode(options: NodeOptions, feed: Feed, bus: BusSettings | undefined): Promise<void> {
  const nodeCredential = readPrivateFile(
    options.nodeCredentialFile,
    feed.isEdge
      ? 'a credential that the upstream feeds; `--downstream-credential-file` of the upstream makes one'
      : 'a node credential; `guidon control-plane --node-credential-file` writes one',
  );
  if (findCredential(nodeCredential)?.kind !== 'node') {
    throw new PlatformError(
      'invalid-credentials',
      `${options.nodeCredentialFile} does not hold a node credential (gdn_node_…)`,
    );
  }
  if (options.trustRoot !== undefined && !/^[A-Za-z0-9_-]{43}$/.test(options.trustRoot)) {
    throw new PlatformError(
      'validation-failed',
      '--trust-root must be the 43 characters that the control plane prints',
    );
  }
  const quotas = options.quotas === undefined ? undefined : parseNodeQuotas(options.quotas);
  const { tls } = exposureOf(options);
  const dataDirectory = prepareDataFolder(options.data);
  mustDiffer({ '--port': options.port, '--metrics-port': options.metricsPort });
  await mustBeFree(options.host, options.port, '--port');
  await mustBeFree('127.0.0.1', options.metricsPort, '--metrics-port');
  const downstream = prepareDownstreamCredentials(options.downstreamCredentialFile);
  const { host, port, metricsPort, logLevel } = options;
  const logger = createLogger(logLevel);
  if (bus !== undefined) await checkBus(bus, logger);
  const node = {
    dataDirectory,
    host,
    port,
    metricsPort,
    ...feed,
    nodeCredential,
    snapshotMemoryBytes: options.snapshotMemory,
    inlineCostMax: options.inlineCostMax,
    logger,
    ...(tls === undefined ? {} : { tls }),
    ...(downstream === undefined ? {} : { downstreamCredentialFile: downstream }),
    ...(options.trustRoot === undefined ? {} : { trustRoot: options.trustRoot }),
    ...(quotas === undefined ? {} : { quotas }),
  };
  const server = await (options.processes === 1 ? startOne(node, bus) : startSeveral(node, options, bus));
  closeOnSignal(() => server.close());
  if (tls !== undefined) reloadOnHangup(() => server.reloadCertificate());
  console.log(`Guidon data plane: ${server.url}   health: ${server.metricsUrl}/readyz`);
}

/** The path from anywhere; the file is made when it is not there. */
function prepareDownstreamCredentials(file: string | undefined): string | undefined {
  if (file === undefined) return undefined;
  const path = resolve(file);
  if (findPrivateFile(path) === undefined) writePrivateFile(path, `${generateCredential('node').token}\n`);
  return path;
}

type Node = Omit<Parameters<typeof import('@guidon/server').startServer>[0], 'bus'> & { readonly host: string };

async function startOne(node: Node, settings: BusSettings | undefined): Promise<RunningProcessGroup> {
  const { startServer } = await import('@guidon/server');
  if (settings === undefined) return startServer(node);
  // Traces come with messages of the bus.
  const stopTracing = await startTracing('guidon-node', node.logger);
  const bus = await openBus(settings, node.logger);
  const eventCarrier = await openEvents(settings, node.logger);
  const server = await startServer({ ...node, bus, eventCarrier });
  return {
    ...server,
    close: async () => {
      await server.close();
      await eventCarrier.close();
      await bus.close();
      await stopTracing();
    },
  };
}

/** Loads no part of the data plane here: the parent has no business with what it is made of. */
async function startSeveral(
  node: Node,
  options: NodeOptions,
  bus: BusSettings | undefined,
): Promise<RunningProcessGroup> {
  const { ProcessGroup } = await import('@guidon/server/processes');
  return ProcessGroup.start({
    ...node,
    ...(bus === undefined ? {} : { bus }),
    processCount: options.processes,
    entry: fileURLToPath(new URL('./server-process.js', import.meta.url)),
    hangMs: options.hangSeconds * 1000,
    logLevel: options.logLevel,
    onGiveUp: (error) => {
      console.error(`guidon: ${error.message}`);
      process.exit(1);
    },
  });
}
