import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { LOG_OPTIONS } from '@guidon/cli/run/logger.js';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';
import { until } from '../support/running-node.js';

/** I24: both planes at their most talkative are sent secrets wherever a request can hold one; none is in what they print. */
const folder = temporaryFolder('secrets');
const keyFile = join(folder.path, 'node.key');
const planes: GuidonProcess[] = [];
let adminUrl: string;
let evaluateUrl: string;
let adminToken: string;

const CANARY = 'canary7f3a91';
let plantedCount = 0;
/** A new text each time, so that a failure says what was printed. */
function plant(): string {
  plantedCount += 1;
  return `${CANARY}x${plantedCount}`;
}
/** The right form and a wrong secret: what a typo of a real credential looks like. */
const wrongToken = (kind: string): string => `gdn_${kind}_${'a'.repeat(10)}${plant().padEnd(55, 'z')}`;

beforeAll(async () => {
  const talkative = ['--log-level', 'debug', '--port', '0', '--metrics-port', '0'];
  const controlPlane = new GuidonProcess(
    ['control-plane', '--data', join(folder.path, 'cp'), '--node-credential-file', keyFile].concat(talkative),
  );
  planes.push(controlPlane);
  await controlPlane.waitFor(/health:/);
  adminUrl = /control plane: (\S+)/.exec(controlPlane.output)?.[1] ?? '';
  const node = new GuidonProcess(
    [
      'server',
      '--control-plane',
      adminUrl,
      '--node-credential-file',
      keyFile,
      '--data',
      join(folder.path, 'node'),
    ].concat(talkative),
  );
  planes.push(node);
  evaluateUrl = (await node.waitFor(/data plane: (\S+)/))[1] ?? '';
  const token = /setup#(\S+)/.exec(controlPlane.output)?.[1] ?? '';
  const answer = await fetch(`${adminUrl}/api/v1/setup`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ token, name: 'me' }),
  });
  adminToken = JSON.parse(await answer.text()).token;
});
afterAll(async () => {
  for (const plane of planes.reverse()) await plane.stop();
  folder.remove();
});

/** Requests that are refused, fail or succeed, with a secret in each part; the planes' answers do not matter here. */
async function sendSecrets(url: string, credential: string): Promise<void> {
  const json = { 'content-type': 'application/json' };
  const bodies = [
    JSON.stringify({ password: plant(), token: plant(), secret: plant(), key: plant() }),
    `{"password": "${plant()}`,
    `${plant()}`,
    JSON.stringify({ context: { email: plant(), targetingKey: plant() }, flags: plant() }),
  ];
  const headers: Record<string, string>[] = [
    { authorization: `Bearer ${plant()}` },
    { authorization: `Bearer ${wrongToken('adm')}` },
    { authorization: `Basic ${plant()}` },
    { 'x-api-key': wrongToken('srv') },
    { cookie: `guidon=${plant()}; __Host-guidon=${plant()}` },
    { authorization: `Bearer ${credential}`, 'x-guidon-comment': plant(), 'user-agent': plant(), 'x-other': plant() },
  ];
  const options = [
    ...headers.map((header) => ({ method: 'POST', headers: { ...json, ...header }, body: bodies[0] ?? '' })),
    ...bodies.map((body) => ({ method: 'POST', headers: { ...json, authorization: `Bearer ${credential}` }, body })),
    { method: 'PATCH', headers: { 'content-type': plant(), authorization: `Bearer ${credential}` }, body: plant() },
  ];
  for (const option of options) await fetch(url, option).catch(() => undefined);
  const query = `token=${plant()}&password=${plant()}&access_token=${wrongToken('adm')}`;
  await fetch(`${url}?${query}`, { headers: { authorization: `Bearer ${credential}` } }).catch(() => undefined);
  await fetch(`${url}/${plant()}`, { headers: { authorization: `Bearer ${credential}` } }).catch(() => undefined);
}

describe('the log of either plane', () => {
  it('names requests, and nothing secret that they hold', async () => {
    for (const path of ['/api/v1/tenants', '/api/v1/login', '/api/v1/setup', '/internal/v1/digests', '/nothing']) {
      await sendSecrets(`${adminUrl}${path}`, adminToken);
    }
    for (const path of ['/v1/evaluate', '/v1/evaluate/batch', '/v1/explain', '/nothing']) {
      await sendSecrets(`${evaluateUrl}${path}`, wrongToken('srv'));
    }
    const [controlPlane] = planes;
    await until('requests are logged', () => /"route":"\/api\/v1\/tenants"/.test(controlPlane?.output ?? ''));
    expect(plantedCount).toBeGreaterThan(150);
    const secrets = [CANARY, adminToken, readFileSync(keyFile, 'utf8').trim()];
    for (const { output } of planes) {
      const printed = output.split('\n').filter((line) => secrets.some((secret) => line.includes(secret)));
      expect(printed).toEqual([]);
    }
  });
});

describe('LOG_OPTIONS', () => {
  it('redacts what is secret by its name, wherever it is handed over', () => {
    let text = '';
    const sink = new Writable({
      write: (chunk: Buffer, _, done) => {
        text += chunk.toString();
        done();
      },
    });
    const log = pino({ ...LOG_OPTIONS, level: 'debug' }, sink);
    for (const name of [
      'authorization',
      'clientSecret',
      'cookie',
      'password',
      'token',
      'secret',
      'nodeCredential',
      'x-api-key',
    ]) {
      log.info({ [name]: plant() }, 'first level');
      log.info({ options: { [name]: plant() } }, 'second level');
      log.info({ request: { headers: { [name]: plant() } } }, 'third level');
      log.child({ [name]: plant() }).info('of a child');
    }
    expect(text.split('\n').filter((line) => line.includes(CANARY))).toEqual([]);
    expect(text).toContain('[Redacted]');
  });
});
