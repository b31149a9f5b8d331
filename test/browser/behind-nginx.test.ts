import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BrowserPlatform } from '../support/browser-platform.js';
import { TestAuthority } from '../support/certificates.js';
import { freePort, Nginx } from '../support/nginx.js';
import { temporaryDirectory, until } from '../support/running-node.js';
import type { StreamedTenant } from '../support/streamed-platform.js';

let browser: BrowserPlatform;
let tenant: StreamedTenant;
let nginx: Nginx;
let key: string;

beforeAll(async () => {
  browser = await BrowserPlatform.start();
  tenant = await browser.platform.addTenant('acme');
  key = await browser.addWebKey(tenant);
  const folder = await temporaryDirectory();
  const tls = new TestAuthority(folder).issue('proxy', 'proxy');
  nginx = await Nginx.start(join(folder, 'nginx'), await freePort(), browser.platform.server.url, tls);
}, 60_000);

afterAll(async () => {
  await nginx?.stop();
  await browser?.close();
});

const streams = (transport: string) => browser.platform.metric(`guidon_stream_connections{transport="${transport}"}`);

it.each([
  ['websocket', 'off', 'on'],
  ['sse', 'on', 'off'],
] as const)('values come by %s through nginx with TLS', async (stream, before, after) => {
  const profile = await browser.chromium.profile({ ignoreHTTPSErrors: true });
  const tab = await browser.openClient(profile, { key, url: `${nginx.url}/`, stream });
  await tab.untilValue('gate', `acme-gate-${before}`);
  await until('the stream is open', async () => (await streams(stream)) === 1);
  const at = Date.now();
  const changed = tab.untilValue('gate', `acme-gate-${after}`);
  await browser.platform.change(tenant, 'gate', { on: after === 'on' });
  console.log(`${stream} through nginx, from before the write: ${(await changed) - at} ms`);
  // Pushed: it was asked for once.
  expect(await tab.requests('/v1/values')).toHaveLength(1);
  expect(tab.errors).toEqual([]);
  await profile.close();
});
