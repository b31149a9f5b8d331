import type { RunningControlPlane } from '@guidon/control-plane';
import { deleteProto, PlatformError } from '@guidon/protocol';
import type { ChildMessage, ParentMessage, SupervisedOptions } from '@guidon/server/processes';
import type { Logger } from 'pino';
import { createLogger } from './logger.js';
import { type ControlPlaneSettings, describeStatus, openControlPlane } from './open-control-plane.js';
import { closeOnSignal } from './shutdown.js';

/** What `guidon control-plane` forks: the process that works, told everything by the one that watches it. */
export type SupervisedControlPlane = ControlPlaneSettings & SupervisedOptions & { readonly logLevel: string };

/** How often it is looked whether readiness has changed. */
const READY_INTERVAL_MS = 100;

let controlPlane: RunningControlPlane | undefined;
let logger: Logger | undefined;
let wasReady = false;
let isDraining = false;

deleteProto();
if (process.send === undefined) throw new Error('this is started by `guidon control-plane`');
process.on('message', (message: ParentMessage<SupervisedControlPlane>) => hear(message));
// Nobody would start it anew, and whoever starts the command again needs the store now: what was acknowledged is on disk.
process.on('disconnect', () => process.kill(process.pid, 'SIGKILL'));
if (!process.connected) process.exit(0);
// A terminal signals the whole group: the parent drains too, and what comes from it is the same.
process.on('SIGHUP', () => undefined);
const drain = closeOnSignal(async () => {
  isDraining = true;
  tellReady();
  await controlPlane?.close();
});
setInterval(tellReady, READY_INTERVAL_MS).unref();
send({ type: 'booted' });

function hear(message: ParentMessage<SupervisedControlPlane>): void {
  switch (message.type) {
    case 'start':
      void start(message.options);
      return;
    case 'ping':
      send({ type: 'pong' });
      return;
    case 'report':
      report(message.reportId);
      return;
    case 'reload-certificate':
      try {
        controlPlane?.reloadCertificate();
      } catch (error) {
        logger?.error({ err: error }, 'the certificate was not reloaded');
      }
      return;
    case 'drain':
      drain();
      return;
    default:
  }
}

async function start({ logLevel, ...settings }: SupervisedControlPlane): Promise<void> {
  try {
    logger = createLogger(logLevel);
    controlPlane = await openControlPlane(settings, logger);
    tellReady();
    send({ type: 'listening', port: controlPlane.port });
  } catch (error) {
    // What an operator can act on is said by the parent, once.
    if (!(error instanceof PlatformError)) logger?.error({ err: error }, 'the control plane cannot start');
    const code = error instanceof PlatformError ? error.code : 'internal';
    send({ type: 'failed', code, detail: error instanceof Error ? error.message : String(error) });
    // Let the message out; nothing is being written.
    setTimeout(() => process.exit(1), 100);
  }
}

function tellReady(): void {
  const isReady = controlPlane !== undefined && !isDraining && controlPlane.status().obstacle === undefined;
  if (isReady === wasReady) return;
  wasReady = isReady;
  send({ type: 'ready', isReady });
}

function report(reportId: number): void {
  const status = controlPlane?.status();
  send({
    type: 'report',
    reportId,
    report: {
      details: status === undefined ? [] : describeStatus(status),
      families: controlPlane?.metrics() ?? [],
      residentBytes: process.memoryUsage.rss(),
    },
  });
}

function send(message: ChildMessage): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined);
}
