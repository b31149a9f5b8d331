import { afterAll, beforeAll, expect, it } from 'vitest';
import { BrowserPlatform } from '../support/browser-platform.js';
import { until } from '../support/running-node.js';
import type { StreamedTenant } from '../support/streamed-platform.js';

let browser: BrowserPlatform;
let tenant: StreamedTenant;
let key: string;

beforeAll(async () => {
  browser = await BrowserPlatform.start();
  tenant = await browser.platform.addTenant('acme', ['gate', 'other']);
  key = await browser.addWebKey(tenant);
}, 60_000);

afterAll(async () => {
  await browser?.close();
});

const sockets = () => browser.platform.metric('guidon_stream_connections{transport="websocket"}');

it('two tabs follow a change through one connection, and the second goes on when the first is closed', async () => {
  const profile = await browser.chromium.profile();
  const options = { key, context: { targetingKey: 'u1' } };
  const first = await browser.openClient(profile, options);
  await first.untilValue('gate', 'acme-gate-off');
  const second = await browser.openClient(profile, options);
  await second.untilValue('gate', 'acme-gate-off');
  await first.untilState('live');
  await second.untilState('live');
  expect(await first.requests('/v1/values')).toHaveLength(1);
  expect(await first.requests('WEBSOCKET')).toHaveLength(1);
  for (const what of ['/v1/values', 'WEBSOCKET', 'EVENTS']) expect(await second.requests(what)).toEqual([]);

  const changed = [first.untilValue('gate', 'acme-gate-on'), second.untilValue('gate', 'acme-gate-on')];
  const at = Date.now();
  await browser.platform.change(tenant, 'gate', { on: true });
  const [firstAt = 0, secondAt = 0] = await Promise.all(changed);
  console.log(`change to tabs, from before the write: ${firstAt - at} ms, ${secondAt - at} ms`);
  expect(await first.page.evaluate(() => window.guidon.changes.at(-1)?.flagKeys)).toEqual(['gate']);
  expect(await sockets()).toBe(1);

  await first.page.close();
  await browser.platform.change(tenant, 'gate', { on: false });
  await second.untilValue('gate', 'acme-gate-off');
  await until('the second tab is connected', async () => (await sockets()) === 1);
  expect(await second.requests('WEBSOCKET')).toHaveLength(1);
  await browser.platform.change(tenant, 'other', { on: true });
  await second.untilValue('other', 'acme-other-on');
  await profile.close();
});
