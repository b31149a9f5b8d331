import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from '@guidon/control-plane';
import { InProcessChangeBus } from '@guidon/protocol';
import { startServer } from '@guidon/server';
import { pino } from 'pino';
import { BenchTenant } from '../bench-tenant.js';
import { w1Flag, w2Flag, w3Flags } from '../workloads.js';

/** A real control plane and a real node in one process, with the workloads' flags made over the admin API. Prints `{port, key}`. */
const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-http-'));
const logger = pino({ level: 'error' }, pino.destination(2));
const bus = new InProcessChangeBus();
const controlPlane = await startControlPlane({ dataDirectory: join(folder, 'cp'), port: 0, bus, logger });
const tenant = await BenchTenant.create(controlPlane);
for (const flag of [w1Flag(), w2Flag(), ...w3Flags()]) await tenant.createFlag(flag);

const server = await startServer({
  dataDirectory: join(folder, 'node'),
  port: 0,
  metricsPort: 0,
  controlPlaneUrl: controlPlane.url,
  nodeCredential: await controlPlane.issueNodeCredential('bench'),
  trustRoot: controlPlane.trustRoot,
  bus,
  logger,
});
while ((await fetch(`${server.metricsUrl}/readyz`)).status !== 200) await new Promise((wake) => setTimeout(wake, 10));
console.log(JSON.stringify({ port: Number(new URL(server.url).port), key: tenant.serverKey }));

process.once('SIGTERM', () => {
  void server
    .close()
    .then(() => controlPlane.close())
    .finally(() => {
      rmSync(folder, { recursive: true, force: true });
      process.exit(0);
    });
});
