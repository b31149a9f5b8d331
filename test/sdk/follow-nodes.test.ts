import { createClient, type GuidonClient } from '@guidon/server-sdk';
import { SDK } from '@guidon/server-sdk/version.js';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/running-node.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';

/** The server SDK against a real node behind a real control plane. */

let platform: StreamedPlatform;
let tenant: StreamedTenant;
const clients: GuidonClient[] = [];

beforeAll(async () => {
  platform = await StreamedPlatform.start();
  tenant = await platform.addTenant('acme', ['gate', 'other']);
});
afterAll(async () => {
  await Promise.all(clients.map((client) => client.close()));
  await platform.close();
});

const SOMEBODY = { targetingKey: 'user-1' };

function clientOf(options: Partial<Parameters<typeof createClient>[0]> = {}): GuidonClient {
  const client = createClient({
    url: platform.server.url,
    key: tenant.srv,
    trustRoot: platform.plane.running.trustRoot,
    ...options,
  });
  clients.push(client);
  return client;
}

describe.each(['websocket', 'sse', 'poll'] as const)('createClient() over %s', (stream) => {
  test('is ready with what the node has, and follows its changes', async () => {
    const client = clientOf({ stream, pollSeconds: 5 });
    expect(client.string('gate', SOMEBODY, 'default')).toBe('default');
    await client.waitForReady({ timeoutMs: 20_000 });
    expect(client.status()).toMatchObject({ state: 'live', isKeyRefused: false, isDiskBehind: false });
    const before = client.string('gate', SOMEBODY, 'default');
    const isOn = before === 'acme-gate-on';
    const heard: (readonly string[])[] = [];
    client.onChange('gate', ({ flagKeys }) => heard.push(flagKeys));
    client.onChange('other', ({ flagKeys }) => heard.push(flagKeys));
    const revision = await platform.change(tenant, 'gate', { on: !isOn });
    await until('the change is there', () => client.status().revision >= revision);
    expect(client.string('gate', SOMEBODY, 'default')).toBe(isOn ? 'acme-gate-off' : 'acme-gate-on');
    expect(heard).toEqual([['gate']]);
  });
});

test('tells the platform what was evaluated and tracked, once, and loses nothing on closing', async () => {
  const client = clientOf();
  await client.waitForReady({ timeoutMs: 20_000 });
  for (let count = 0; count < 7; count += 1) client.string('other', SOMEBODY, 'default');
  client.boolean('misspelt', SOMEBODY, false);
  client.track('bought', SOMEBODY, { value: 3 });
  await client.close();
  expect(client.status()).toMatchObject({ state: 'closed', lostEventCount: 0 });
  const read = async (path: string) =>
    JSON.stringify((await platform.plane.must('GET', `${tenant.environment}${path}`)).body);
  await until('the SDK is known', async () => (await read('/sdks')).includes(SDK.name), 30_000);
  await until('the unknown flag is known', async () => (await read('/unknown-flags')).includes('misspelt'), 30_000);
  const counted = async () =>
    (await platform.plane.must('GET', `${tenant.environment}/flags/other/usage`)).body.evaluations;
  await until('the evaluations are counted', async () => (await counted()) >= 7, 30_000);
  expect(await counted()).toBe(7);
});
