import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { InProcessChangeBus, messageIdOf, parseEnvironmentRef, subjectOf } from '@guidon/protocol';
import { type RunningServer, startServer } from '@guidon/server';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { FeedCopy, hashOf, stateOfApi } from '../support/feed-copy.js';
import { GUIDON_MAIN, GuidonProcess, type TemporaryFolder, temporaryFolder } from '../support/guidon-process.js';
import { sendJson } from '../support/http.js';
import { until } from '../support/running-node.js';

/** One story: write, back up under load, write more, restore, go on; then everything that a backup must be refused for. */
let folder: TemporaryFolder;
let plane: TestControlPlane;
let acme: Seed;
let nodeToken: string;
let oldKey: string;
let newKey: string;
/** What the node had of `dev` before the restore, as the bus carries it. */
let staleMessage: Buffer;
let backup: string;
const nodes: RunningServer[] = [];
const bus = new InProcessChangeBus();

const environmentOf = () =>
  parseEnvironmentRef({ tenantId: acme.tenantId, projectId: staleProject, environmentId: acme.dev.id });
let staleProject = '';

async function turn(environment: string, on: boolean): Promise<number> {
  const path = `${environment}/flags/gate/targeting`;
  const { etag } = (await plane.must('GET', path)).headers;
  const answer = await plane.must('PATCH', path, { body: { on }, headers: { 'if-match': String(etag) } });
  return answer.body.revision;
}

async function makeKey(): Promise<string> {
  const { body } = await plane.must('POST', `${acme.dev.path}/credentials`, { body: { kind: 'srv', name: 'k' } });
  return body.token;
}

async function startNode(): Promise<RunningServer> {
  const node = await startServer({
    dataDirectory: join(folder.path, 'node'),
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: plane.running.url,
    nodeCredential: nodeToken,
    trustRoot: plane.running.trustRoot,
    pollIntervalMs: 50,
    bus,
    logger: pino({ level: 'silent' }),
  });
  nodes.push(node);
  return node;
}

const evaluate = (node: RunningServer, key: string) =>
  sendJson(`${node.url}/v1/evaluate`, { key, body: { flags: 'gate', context: { targetingKey: 'u' } } });

/** Runs a command to its end. */
function guidon(...args: readonly string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [GUIDON_MAIN, ...args], {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, output: stdout + stderr };
}

beforeAll(async () => {
  folder = temporaryFolder('backup');
  backup = join(folder.path, 'backup');
  plane = await TestControlPlane.start({ directory: join(folder.path, 'plane') });
  acme = await plane.seed();
  nodeToken = await plane.running.issueNodeCredential('n');
  await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('gate') });
  oldKey = await makeKey();
  await turn(acme.dev.path, true);
}, 60_000);
afterAll(async () => {
  for (const node of nodes) await node.close();
  await plane.stop();
  await bus.close();
  folder.remove();
});

test('backs up under load, says what it leaves out, and refuses to overwrite', async () => {
  let isDone = false;
  const acknowledged: number[] = [];
  const load = (async () => {
    for (let on = true; !isDone; on = !on) acknowledged.push(await turn(acme.prod.path, on));
  })();
  const before = acknowledged.length;
  const command = new GuidonProcess(['backup', '--data', plane.directory, '--out', backup]);
  expect([await command.exitStatus(), command.output]).toEqual([0, expect.stringMatching(/^\S+: \d+ rows, \d+ bytes/)]);
  isDone = true;
  await load;
  expect(acknowledged.length).toBeGreaterThan(before + 1);
  expect(command.output).toContain('Not in it: keys/key-set, keys/root.pem, keys/signing.pem.');
  expect(statSync(backup).mode & 0o777).toBe(0o600);
  expect(guidon('backup', '--data', plane.directory, '--out', backup)).toEqual({
    status: 78,
    output: expect.stringContaining('exists already; nothing is overwritten'),
  });
}, 60_000);

test('a running control plane’s directory is refused, and untouched', () => {
  expect(guidon('restore', backup, '--data', plane.directory)).toEqual({
    status: 78,
    output: expect.stringContaining('another process has'),
  });
  expect(guidon('compact', '--data', plane.directory)).toEqual({
    status: 78,
    output: expect.stringContaining('another process has'),
  });
});

test('a node that had newer revisions takes what was restored, and nothing of the old epoch any more (I7)', async () => {
  // As many revisions and access lists as the restore makes: numbers that come again must not be taken for the same.
  const node = await startNode();
  const newest = await turn(acme.dev.path, false);
  newKey = await makeKey();
  await until('the node has it', () => node.revisionOf(acme.dev.id) === newest);
  await until('the node knows the new key', async () => (await evaluate(node, newKey)).status === 200);
  expect((await evaluate(node, newKey)).body).toMatchObject({ value: false, revision: newest });
  const read = await plane.call('GET', `/internal/v1/environments/${acme.dev.id}/config`, { token: nodeToken });
  staleMessage = read.bytes;
  const audit = (await plane.must('GET', `${acme.tenant}/audit/tree-head`)).body.size;
  const { end } = (await plane.must('GET', `${acme.tenant}/feed?limit=1`)).body;
  staleProject = (await plane.must('GET', acme.project)).body.id;
  await node.close();
  nodes.length = 0;
  await plane.stop();

  const { status, output } = guidon('restore', backup, '--data', plane.directory);
  expect([status, output]).toEqual([0, expect.stringContaining('raises every environment to epoch 2')]);
  expect(output).toContain(`trust root ${plane.running.trustRoot}`);
  const aside = readdirSync(plane.directory).filter((name) => name.startsWith('before-restore-'));
  expect(existsSync(join(plane.directory, aside[0] ?? '', 'data.mdb'))).toBe(true);

  plane = await TestControlPlane.start({ directory: plane.directory, bus });
  // The restored tenant admin is the one from before; the new log goes on from the backup's.
  expect((await plane.must('GET', `${acme.tenant}/audit/tree-head`)).body.size).toBeLessThan(audit);
  const { body } = await plane.must('GET', `${acme.tenant}/audit?limit=10`);
  expect(body.items.map(({ action }: { action: string }) => action)).toContain('installation.restore');
  // Who followed the feed begins anew, wherever he was: what he has may never have been (ADR 42).
  for (const after of [0, end])
    expect((await plane.call('GET', `${acme.tenant}/feed?after=${after}`)).status).toBe(410);
  const copy = new FeedCopy();
  await copy.readState(plane, acme.tenant);
  expect(copy.hash).toBe(hashOf(await stateOfApi(plane, acme)));

  const again = await startNode();
  await until('the node has what was restored', () => again.revisionOf(acme.dev.id) === newest);
  await until('the value is the old one', async () => (await evaluate(again, oldKey)).body.value === true);
  await until('the key made since is gone', async () => (await evaluate(again, newKey)).status === 401);
  const environment = environmentOf();
  const id = messageIdOf('config', { ...environment, epoch: 1, to: newest });
  await bus.publish(subjectOf('config', environment), staleMessage, id);
  await turn(acme.prod.path, true);
  const next = await turn(acme.dev.path, false);
  await until('it goes on', () => again.revisionOf(acme.dev.id) === next);
  await bus.publish(subjectOf('config', environment), staleMessage, id);
  await new Promise((wake) => setTimeout(wake, 200));
  expect([next, again.revisionOf(acme.dev.id)]).toEqual([newest + 1, next]);
}, 90_000);

test('the same backup restored once more is newer again', async () => {
  await plane.stop();
  expect(guidon('restore', backup, '--data', plane.directory).output).toContain('to epoch 3');
  plane = await TestControlPlane.start({ directory: plane.directory, bus });
  const node = nodes[0] ?? (await startNode());
  await node.close();
  nodes.length = 0;
  const again = await startNode();
  await until('the first state serves', async () => (await evaluate(again, oldKey)).body.value === true);
}, 60_000);

test('without its keys a restore says so first; a control plane does not start; with them it is the same installation', () => {
  const directory = join(folder.path, 'elsewhere');
  const missing = /missing: \S+key-set, \S+root\.pem, \S+signing\.pem\. The control plane does not start without/;
  expect(guidon('restore', backup, '--data', directory, '--check').output).toMatch(missing);
  expect(existsSync(directory)).toBe(false);
  const { status, output } = guidon('restore', backup, '--data', directory);
  expect([status, output]).toEqual([0, expect.stringMatching(missing)]);
  // Nobody knows here which restores have been.
  expect(output).toContain('epoch 11');
  expect(guidon('control-plane', '--data', directory, '--port', '0').output).toContain(
    'key-set is missing although there is a store',
  );

  const whole = join(folder.path, 'with-keys');
  const target = join(folder.path, 'moved');
  expect(guidon('backup', '--data', plane.directory, '--out', whole, '--with-keys').output).toContain(
    'holds the private keys',
  );
  const restored = guidon(
    'restore',
    whole,
    '--data',
    target,
    '--trust-root',
    plane.running.trustRoot,
    '--epoch-above',
    '7',
  );
  expect([restored.status, restored.output]).toEqual([
    0,
    expect.stringContaining('keys from the backup: key-set, root.pem, signing.pem'),
  ]);
  expect(restored.output).toContain('epoch 8');
  for (const name of ['key-set', 'root.pem', 'signing.pem']) {
    expect(readFileSync(join(target, 'keys', name))).toEqual(readFileSync(join(plane.directory, 'keys', name)));
  }
  expect(readFileSync(backup).includes('PRIVATE KEY')).toBe(false);
}, 120_000);

test('another installation’s directory and another root are refused', async () => {
  const other = await TestControlPlane.start();
  await other.stop();
  expect(guidon('restore', backup, '--data', other.directory)).toEqual({
    status: 78,
    output: expect.stringContaining('has the keys of another installation'),
  });
  rmSync(other.directory, { recursive: true });
  expect(guidon('restore', backup, '--data', join(folder.path, 'x'), '--trust-root', 'A'.repeat(43))).toEqual({
    status: 78,
    output: expect.stringContaining('not the one pinned'),
  });
  expect(existsSync(join(folder.path, 'x'))).toBe(false);
}, 60_000);

test('a damaged store that is replaced does not stop a restore', () => {
  const directory = join(folder.path, 'damaged');
  cpSync(join(folder.path, 'moved'), directory, { recursive: true });
  const file = join(directory, 'store', 'data.mdb');
  const bytes = readFileSync(file);
  bytes.fill(0xa5, 8_192);
  writeFileSync(file, bytes);
  const { status, output } = guidon('restore', backup, '--data', directory);
  expect([status, output]).toEqual([0, expect.stringContaining('what was there is kept')]);
  copyFileSync(backup, join(folder.path, 'copy'));
}, 60_000);

test('compact makes the file smaller and loses nothing', async () => {
  const names = Array.from({ length: 40 }, (_, index) => `p${index}`);
  for (const key of names) {
    await plane.must('POST', `${acme.tenant}/projects`, { body: { key, name: key, description: 'x'.repeat(4_000) } });
  }
  await plane.stop();
  const { status, output } = guidon('compact', '--data', plane.directory);
  const [, before, after] = /^(\d+) bytes before, (\d+) after/.exec(output) ?? [];
  expect([status, Number(after) < Number(before)]).toEqual([0, true]);
  plane = await TestControlPlane.start({ directory: plane.directory, bus });
  for (const key of names) await plane.must('GET', `${acme.tenant}/projects/${key}`);
}, 60_000);
