import { createClient, type GuidonClient } from '@guidon/server-sdk';
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
