import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type ServerOptions, startServer } from '@guidon/server';
import { pino } from 'pino';

/**
 * A data-plane node as a process of its own, forked. Usage: node node-process.js <options of startServer as JSON>. Sends its ports once it is
 * ready and, on any message, what it holds and how long its event loop was held up at most since the last one. Ends with its parent.
 */
export type NodeOptions = Pick<ServerOptions, 'dataDirectory' | 'controlPlaneUrl' | 'nodeCredential'> &
  Partial<Omit<ServerOptions, 'logger' | 'bus'>>;

export interface NodeReady {
  readonly port: number;
  readonly metricsUrl: string;
}

export interface NodeReport {
  /** What the event loop was late by, milliseconds. */
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** The monitor's own period: what it reports is the delay above it. */
const RESOLUTION_MS = 1;

const options: NodeOptions = JSON.parse(process.argv[2] ?? '');
const server = await startServer({
  port: 0,
  metricsPort: 0,
  ...options,
  logger: pino({ level: 'error' }, pino.destination(2)),
});
while ((await fetch(`${server.metricsUrl}/readyz`)).status !== 200) await new Promise((wake) => setTimeout(wake, 10));

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
process.on('message', () => {
  const inMs = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  const report: NodeReport = { p99Ms: inMs(delay.percentile(99)), maxMs: inMs(delay.max) };
  process.send?.(report);
  // Its timer wakes the process a thousand times a second, so it runs only for those who ask.
  delay.enable();
  delay.reset();
});
const end = () => void server.close().then(() => process.exit(0));
process.once('SIGTERM', end);
process.once('disconnect', end);
const ready: NodeReady = { port: server.port, metricsUrl: server.metricsUrl };
process.send?.(ready);
