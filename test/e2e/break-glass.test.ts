import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { GuidonProcess, temporaryFolder } from '../support/guidon-process.js';

const folder = temporaryFolder('break-glass');
const data = join(folder.path, 'control-plane');
let controlPlane: GuidonProcess;
let url: string;

beforeAll(async () => {
  const secret = join(folder.path, 'client-secret');
  writeFileSync(secret, 'a planted secret of the client\n');
  chmodSync(secret, 0o600);
  const oidc = ['--oidc-issuer', 'http://127.0.0.1:1', '--oidc-client-id', 'c', '--oidc-client-secret-file', secret];
  controlPlane = new GuidonProcess(['control-plane', '--data', data, '--port', '0', ...oidc]);
  url = (await controlPlane.waitFor(/control plane: (http\S+)/))[1] ?? '';
});
afterAll(async () => {
  await controlPlane.stop();
  folder.remove();
});

async function breakGlass(...args: string[]): Promise<{ status: number | null; output: string }> {
  const command = new GuidonProcess(['break-glass', ...args]);
  return { status: await command.exitStatus(), output: command.output };
}

/** Everything below the data folder, as text. */
function filesOf(directory: string): string {
  return readdirSync(directory, { recursive: true })
    .map((entry) => join(directory, String(entry)))
    .filter((path) => statSync(path).isFile())
    .map((path) => readFileSync(path).toString('latin1'))
    .join('\n');
}

test('guidon break-glass prints a token that works, with the provider down, and writes no secret', async () => {
  const { status, output } = await breakGlass('--data', data, '--control-plane', url, '--reason', 'drill');
  expect([status, output]).toEqual([0, expect.stringMatching(/^gdn_adm_\S{72}$/m)]);
  const token = /gdn_adm_\S+/.exec(output)?.[0] ?? '';
  const headers = { authorization: `Bearer ${token}` };
  expect((await fetch(`${url}/api/v1/tenants`, { headers })).status).toBe(200);
  expect(await (await fetch(`${url}/api/v1/audit?action=break-glass.open`, { headers })).text()).toContain('drill');
  const secret = token.slice(-49, -6);
  expect(secret).toHaveLength(43);
  expect(filesOf(folder.path).includes(secret)).toBe(false);
  expect(controlPlane.output).toContain('break-glass was opened');
  for (const text of [secret, 'planted secret of the client']) expect(controlPlane.output).not.toContain(text);
});

test('it says what is wrong: no keys there, nobody listening, no reason', async () => {
  const elsewhere = join(folder.path, 'elsewhere');
  mkdirSync(elsewhere);
  const missing = await breakGlass('--data', elsewhere, '--control-plane', url, '--reason', 'drill');
  expect([missing.status, missing.output]).toEqual([78, expect.stringMatching(/signing\.pem cannot be read/)]);
  const deaf = await breakGlass('--data', data, '--control-plane', 'http://127.0.0.1:1', '--reason', 'drill');
  expect([deaf.status, deaf.output]).toEqual([78, expect.stringMatching(/does not answer/)]);
  expect((await breakGlass('--data', data, '--control-plane', url)).status).toBe(64);
});

test('guidon control-plane refuses half a provider', async () => {
  const oidc = ['--oidc-issuer', 'https://idp.example', '--oidc-client-id', 'c'];
  const half = new GuidonProcess(['control-plane', '--data', join(folder.path, 'half'), '--port', '0', ...oidc]);
  expect([await half.exitStatus(), half.output]).toEqual([78, expect.stringMatching(/OIDC needs/)]);
  const plain = ['--oidc-issuer', 'http://idp.example', '--oidc-client-id', 'c'];
  const unsafe = new GuidonProcess(['control-plane', '--data', join(folder.path, 'unsafe'), '--port', '0', ...plain], {
    GUIDON_OIDC_CLIENT_SECRET: 's',
  });
  expect([await unsafe.exitStatus(), unsafe.output]).toEqual([
    78,
    expect.stringMatching(/issuer must be an https URL/),
  ]);
});
