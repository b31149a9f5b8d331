import { resolve } from 'node:path';
import { PlatformError } from '@guidon/protocol';
import { findCredential } from '@guidon/protocol/signed-config';
import { parseNodeQuotas, startServer } from '@guidon/server';
import { mustBeFree } from './free-port.js';
import { createLogger } from './logger.js';
import { readPrivateFile } from './private-file.js';
import { closeOnSignal } from './shutdown.js';

export interface ServerOptions {
  readonly controlPlane: string;
  readonly nodeCredentialFile: string;
  readonly trustRoot?: string;
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly metricsPort: number;
  /** Bytes. */
  readonly snapshotMemory: number;
  /** JSON; see `parseNodeQuotas`. */
  readonly quotas?: string;
  readonly logLevel: string;
}

/** A data-plane node fed over HTTP, as a process of its own. */
export async function runServer(options: ServerOptions): Promise<void> {
  const nodeCredential = readPrivateFile(
    options.nodeCredentialFile,
    'a node credential; `guidon control-plane --node-credential-file` writes one',
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
  await mustBeFree(options.host, options.port, '--port');
  await mustBeFree('127.0.0.1', options.metricsPort, '--metrics-port');
  const server = await startServer({
    dataDirectory: resolve(options.data),
    host: options.host,
    port: options.port,
    metricsPort: options.metricsPort,
    controlPlaneUrl: options.controlPlane,
    nodeCredential,
    snapshotMemoryBytes: options.snapshotMemory,
    logger: createLogger(options.logLevel),
    ...(options.trustRoot === undefined ? {} : { trustRoot: options.trustRoot }),
    ...(quotas === undefined ? {} : { quotas }),
  });
  closeOnSignal(() => server.close());
  console.log(`Guidon data plane: ${server.url}   health: ${server.metricsUrl}/readyz`);
}
