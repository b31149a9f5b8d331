import { startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus } from '@guidon/protocol';
import { pino } from 'pino';

/** A control plane as a process of its own, forked. Usage: node control-plane-process.js <data directory>. Ends with its parent. */
export interface ControlPlaneReady {
  readonly port: number;
  /** Of the platform itself: to set up what is measured. */
  readonly token: string;
}

const controlPlane = await startControlPlane({
  dataDirectory: process.argv[2] ?? '',
  port: 0,
  bus: new InProcessChangeBus(),
  logger: pino({ level: 'error' }, pino.destination(2)),
});
const end = () => void controlPlane.close().then(() => process.exit(0));
process.once('SIGTERM', end);
process.once('disconnect', end);
const ready: ControlPlaneReady = { port: controlPlane.port, token: await controlPlane.createSystemCredential() };
process.send?.(ready);
