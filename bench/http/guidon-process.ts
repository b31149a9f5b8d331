import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startControlPlane } from '@guidon/control-plane';
import type { FlagDefinition } from '@guidon/engine';
import { InProcessChangeBus } from '@guidon/protocol';
import { startServer } from '@guidon/server';
import { pino } from 'pino';
import { w1Flag, w2Flag, w3Flags } from '../workloads.js';

/** A real control plane and a real node in one process, with the workloads' flags made over the admin API. Prints `{port, key}`. */
const folder = mkdtempSync(join(tmpdir(), 'guidon-bench-http-'));
const logger = pino({ level: 'error' }, pino.destination(2));
const bus = new InProcessChangeBus();
const controlPlane = await startControlPlane({ dataDirectory: join(folder, 'cp'), port: 0, bus, logger });
const credential = await controlPlane.createSystemCredential();

async function post(path: string, body: object): Promise<Record<string, string>> {
  const response = await fetch(`${controlPlane.url}/api/v1${path}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${credential}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${path} answered ${response.status}: ${await response.text()}`);
  return JSON.parse(await response.text());
}

/** The admin API makes the salt itself, so the split of a flag differs from run to run within its tolerance. */
async function createFlag(
  projectPath: string,
  { key, type, variations, ...definition }: FlagDefinition,
): Promise<void> {
  const { on, offVariation, rules, fallthrough } = definition;
  const initialTargeting = { bench: { on, offVariation, rules, fallthrough } };
  await post(`${projectPath}/flags`, { key, type, variations, initialTargeting });
}

const tenant = await post('/tenants', { key: 'bench', name: 'Bench' });
await post(`/tenants/${tenant.id}/projects`, { key: 'bench', name: 'Bench' });
const projectPath = `/tenants/${tenant.id}/projects/bench`;
await post(`${projectPath}/environments`, { key: 'bench', name: 'Bench' });
for (const flag of [w1Flag(), w2Flag(), ...w3Flags()]) await createFlag(projectPath, flag);
const { token } = await post(`${projectPath}/environments/bench/credentials`, { kind: 'srv', name: 'bench' });

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
console.log(JSON.stringify({ port: Number(new URL(server.url).port), key: token }));

process.once('SIGTERM', () => {
  void server
    .close()
    .then(() => controlPlane.close())
    .finally(() => {
      rmSync(folder, { recursive: true, force: true });
      process.exit(0);
    });
});
