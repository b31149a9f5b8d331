import { monitorEventLoopDelay } from 'node:perf_hooks';
import { startServer } from '@guidon/server';
import { pino } from 'pino';

/**
 * A data-plane node as a process of its own. Usage: node node-process.js <data folder> <control plane> <credential> <poll ms>. Sends
 * its port once ready; on any message it sends how long its event loop was held up at most since the last one, milliseconds.
 */
const [dataDirectory = '', controlPlaneUrl = '', nodeCredential = '', pollIntervalMs = ''] = process.argv.slice(2);
/** The monitor's own period: what it reports is the delay above it. */
const RESOLUTION_MS = 1;

const server = await startServer({
  dataDirectory,
  port: 0,
  metricsPort: 0,
  controlPlaneUrl,
  nodeCredential,
  pollIntervalMs: Number(pollIntervalMs),
  logger: pino({ level: 'error' }, pino.destination(2)),
});
while ((await fetch(`${server.metricsUrl}/readyz`)).status !== 200) await new Promise((wake) => setTimeout(wake, 10));

const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
delay.enable();
process.on('message', () => {
  const inMs = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  process.send?.({ p99Ms: inMs(delay.percentile(99)), maxMs: inMs(delay.max) });
  delay.reset();
});
process.once('SIGTERM', () => void server.close().then(() => process.exit(0)));
process.send?.({ port: Number(new URL(server.url).port) });
