import { resolve } from 'node:path';
import { startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus } from '@guidon/protocol';
import { mustBeFree } from './free-port.js';
import { createLogger } from './logger.js';
import { findPrivateFile, writePrivateFile } from './private-file.js';
import { closeOnSignal } from './shutdown.js';
import { dieOnStoreFailure } from './store-failure.js';

export interface ControlPlaneOptions {
  readonly data: string;
  readonly host: string;
  readonly port: number;
  readonly nodeCredentialFile?: string;
  readonly logLevel: string;
}

/** The admin API and the HTTP feed for nodes, as a process of its own. */
export async function runControlPlane(options: ControlPlaneOptions): Promise<void> {
  await mustBeFree(options.host, options.port, '--port');
  const bus = new InProcessChangeBus();
  const controlPlane = await startControlPlane({
    dataDirectory: resolve(options.data),
    host: options.host,
    port: options.port,
    bus,
    logger: createLogger(options.logLevel),
    onStoreFailure: dieOnStoreFailure,
  });
  const close = async (): Promise<void> => {
    await controlPlane.close();
    await bus.close();
  };
  closeOnSignal(close);
  const file = options.nodeCredentialFile;
  try {
    if (file !== undefined && findPrivateFile(file) === undefined) {
      writePrivateFile(file, `${await controlPlane.issueNodeCredential('node')}\n`);
    }
  } catch (error) {
    // What has been said to have failed must not go on listening.
    await close();
    throw error;
  }
  console.log(`Guidon control plane: ${controlPlane.url}   reference: ${controlPlane.url}/docs`);
  if (controlPlane.setupUrl !== undefined) console.log(`first admin: ${controlPlane.setupUrl}   (works once)`);
  console.log(`trust root: ${controlPlane.trustRoot}`);
}
