import {
  type ControlPlaneOptions,
  type ControlPlaneStatus,
  type RunningControlPlane,
  startControlPlane,
} from '@guidon/control-plane';
import { type BusSettings, InProcessChangeBus } from '@guidon/protocol';
import type { TlsFiles } from '@guidon/protocol/tls-files';
import type { Logger } from 'pino';
import { openBus, openEvents } from './open-bus.js';
import { findPrivateFile, writePrivateFile } from './private-file.js';
import { dieOnStoreFailure } from './store-failure.js';
import { startTracing } from './tracing.js';

/** What a control plane is started with, checked. Crosses a process border as JSON. */
export interface ControlPlaneSettings {
  readonly dataDirectory: string;
  readonly host: string;
  readonly port: number;
  readonly tls?: TlsFiles;
  readonly trustedProxies?: readonly string[];
  readonly publicUrl?: string;
  readonly webhookAllow?: readonly string[];
  readonly oidc?: NonNullable<ControlPlaneOptions['oidc']>;
  readonly bus?: BusSettings;
  readonly nodeCredentialFile?: string;
  readonly canaryMs?: number;
}

/** Starts it, writes the node credential that was asked for, and says on stdout where everything is. */
export async function openControlPlane(settings: ControlPlaneSettings, logger: Logger): Promise<RunningControlPlane> {
  const { bus: busSettings, nodeCredentialFile: file, ...options } = settings;
  const stopTracing = await startTracing('guidon-control-plane', logger);
  const bus = busSettings === undefined ? new InProcessChangeBus() : await openBus(busSettings, logger, true);
  const eventFeed = busSettings === undefined ? undefined : await openEvents(busSettings, logger);
  const parts = { ...options, bus, eventFeed, logger };
  const controlPlane = await startControlPlane({ ...parts, onStoreFailure: dieOnStoreFailure });
  const close = async (): Promise<void> => {
    await controlPlane.close();
    await bus.close();
    await stopTracing();
  };
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
  return { ...controlPlane, close };
}

/** Lines for `/readyz?verbose`. */
export function describeStatus({ obstacle, freeBytes }: ControlPlaneStatus): string[] {
  return [`store ${obstacle ?? 'takes writes'}`, `free ${Math.floor(freeBytes / (1024 * 1024))} MiB`];
}
