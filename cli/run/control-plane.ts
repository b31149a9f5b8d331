import { startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus } from '@guidon/protocol';
import { busSettingsFrom, type NatsOptions } from '../options/nats-options.js';
import { type OidcCliOptions, oidcFrom } from '../options/oidc-options.js';
import { prepareDataFolder } from './data-folder.js';
import { type ExposureOptions, exposureOf } from './exposure.js';
import { mustBeFree } from './free-port.js';
import { createLogger } from './logger.js';
import { checkBus, openBus } from './open-bus.js';
import { findPrivateFile, writePrivateFile } from './private-file.js';
import { closeOnSignal, reloadOnHangup } from './shutdown.js';
import { dieOnStoreFailure } from './store-failure.js';

export interface ControlPlaneOptions extends ExposureOptions, NatsOptions, OidcCliOptions {
  readonly data: string;
  readonly port: number;
  readonly publicUrl?: string;
  readonly nodeCredentialFile?: string;
  readonly logLevel: string;
}

/** The admin API and the HTTP feed for nodes, as a process of its own. */
export async function runControlPlane(options: ControlPlaneOptions): Promise<void> {
  const exposure = exposureOf(options);
  const dataDirectory = prepareDataFolder(options.data);
  const oidc = oidcFrom(options);
  await mustBeFree(options.host, options.port, '--port');
  const logger = createLogger(options.logLevel);
  const settings = busSettingsFrom(options);
  if (settings !== undefined) await checkBus(settings, logger);
  const bus = settings === undefined ? new InProcessChangeBus() : await openBus(settings, logger, true);
  const controlPlane = await startControlPlane({
    dataDirectory,
    host: options.host,
    port: options.port,
    ...exposure,
    ...(options.publicUrl === undefined ? {} : { publicUrl: options.publicUrl }),
    ...(oidc === undefined ? {} : { oidc }),
    bus,
    logger,
    onStoreFailure: dieOnStoreFailure,
  });
  const close = async (): Promise<void> => {
    await controlPlane.close();
    await bus.close();
  };
  closeOnSignal(close);
  if (exposure.tls !== undefined) reloadOnHangup(() => controlPlane.reloadCertificate());
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
  console.log(`Guidon control plane: ${controlPlane.publicUrl}   reference: ${controlPlane.publicUrl}/docs`);
  if (controlPlane.setupUrl !== undefined) console.log(`first admin: ${controlPlane.setupUrl}   (works once)`);
  console.log(`trust root: ${controlPlane.trustRoot}`);
}
