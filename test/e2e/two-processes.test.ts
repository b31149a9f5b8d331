import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';

/** Control plane and node as two processes with nothing between them but HTTP: the path that a bus only makes faster. */
const folder = temporaryFolder('two-processes');
const keyFile = join(folder.path, 'node.key');
let controlPlane: GuidonProcess;
let node: GuidonProcess;
let adminUrl: string;
let evaluateUrl: string;
let admin: string;
let environmentUrl: string;
let serverKey: string;
let adminPort = '0';

async function startControlPlane(): Promise<void> {
  controlPlane = new GuidonProcess([
    'control-plane',
    '--data',
    join(folder.path, 'cp'),
    '--port',
    adminPort,
    '--node-credential-file',
    keyFile,
  ]);
  adminUrl = (await controlPlane.waitFor(/control plane: (http\S+)/))[1] ?? '';
  await controlPlane.waitFor(/trust root/);
  adminPort = new URL(adminUrl).port;
}

async function startNode(): Promise<void> {
  const args = ['--control-plane', adminUrl, '--node-credential-file', keyFile, '--data', join(folder.path, 'node')];
  node = new GuidonProcess(['server', ...args, '--port', '0', '--metrics-port', '0']);
  evaluateUrl = (await node.waitFor(/data plane: (http\S+)/))[1] ?? '';
}

async function post(url: string, body: unknown): Promise<Record<string, unknown>> {
  const answer = await sendJson(url, { key: admin, body });
  expect(answer.status, JSON.stringify(answer.body)).toBeLessThan(300);
  return answer.body;
}

async function patchTargeting(patch: object): Promise<number> {
  const url = `${environmentUrl}/flags/gate/targeting`;
  const etag = (await sendJson(url, { key: admin })).headers.get('etag') ?? '';
  const answer = await sendJson(url, {
    method: 'PATCH',
    key: admin,
    headers: { 'content-type': 'application/merge-patch+json', 'if-match': etag },
    body: patch,
  });
  expect(answer.status, JSON.stringify(answer.body)).toBe(200);
  return Number(answer.body.revision);
}

/** Asks until the node serves at least the revision: the poll comes every 5 s with jitter. */
async function evaluateAt(revision: number): Promise<Record<string, unknown>> {
  const deadlineMs = performance.now() + 20_000;
  for (;;) {
    const answer = await sendJson(`${evaluateUrl}/v1/evaluate`, {
      key: serverKey,
      body: { flags: 'gate', context: { targetingKey: 'u' } },
    });
    if (Number(answer.body.revision) >= revision) return answer.body;
    if (performance.now() > deadlineMs)
      throw new Error(`revision ${revision} never came: ${JSON.stringify(answer.body)}`);
    await new Promise((wake) => setTimeout(wake, 50));
  }
}

beforeAll(async () => {
  await startControlPlane();
  const setup = new URL((await controlPlane.waitFor(/first admin: (http\S+)/))[1] ?? '');
  admin = String(
    (await sendJson(`${adminUrl}/api/v1/setup`, { body: { token: setup.hash.slice(1), name: 'me' } })).body.token,
  );
  const tenant = await post(`${adminUrl}/api/v1/tenants`, { key: 'acme', name: 'Acme' });
  const projectUrl = `${adminUrl}/api/v1/tenants/${String(tenant.id)}/projects`;
  await post(projectUrl, { key: 'shop', name: 'Shop' });
  await post(`${projectUrl}/shop/environments`, { key: 'production', name: 'Production' });
  environmentUrl = `${projectUrl}/shop/environments/production`;
  await post(`${projectUrl}/shop/flags`, { key: 'gate', type: 'boolean' });
  serverKey = String((await post(`${environmentUrl}/credentials`, { kind: 'srv', name: 'test' })).token);
  await startNode();
});
afterAll(async () => {
  await node.stop();
  await controlPlane.stop();
  folder.remove();
});

describe('guidon control-plane and guidon server over the HTTP feed', () => {
  it('a change reaches the node by polling', async () => {
    const revision = await patchTargeting({ on: true, fallthrough: { variation: 'on' } });
    expect(await evaluateAt(revision)).toMatchObject({ value: true, reason: 'STATIC' });
  });

  it('I12: the node answers the same after kill -9 of both and its own cold start with the control plane down', async () => {
    const before = await evaluateAt(1);
    await controlPlane.stop('SIGKILL');
    await node.stop('SIGKILL');
    await startNode();
    expect(await evaluateAt(Number(before.revision))).toEqual(before);
  });

  it('a node that comes back finds the control plane again', async () => {
    await startControlPlane();
    const revision = await patchTargeting({ on: false });
    expect(await evaluateAt(revision)).toMatchObject({ value: false, reason: 'DISABLED' });
  });

  it('both drain on SIGTERM and end with status 0', async () => {
    expect(await node.stop('SIGTERM')).toBe(0);
    expect(await controlPlane.stop('SIGTERM')).toBe(0);
  });
});
