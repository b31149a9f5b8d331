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

it.each([
  ['sse', 'off', 'on'],
  ['poll', 'on', 'off'],
] as const)('values come by %s', async (stream, before, after) => {
  const profile = await browser.chromium.profile();
  const tab = await browser.openClient(profile, { key, stream, pollSeconds: 5, context: { targetingKey: 'é漢🌍' } });
  await tab.untilValue('gate', `acme-gate-${before}`);
  await browser.platform.change(tenant, 'gate', { on: after === 'on' });
  await tab.untilValue('gate', `acme-gate-${after}`);
  expect((await tab.requests('EVENTS')).length).toBe(stream === 'sse' ? 1 : 0);
  expect(await tab.requests('WEBSOCKET')).toEqual([]);
  await profile.close();
});

it('a page that no WebSocket gets through to goes on with events', async () => {
  const profile = await browser.chromium.profile();
  await profile.routeWebSocket(/.*/, (socket) => socket.close());
  const tab = await browser.openClient(profile, { key });
  await until('events are open', async () => (await tab.requests('EVENTS')).length === 1, 30_000);
  expect(await tab.requests('WEBSOCKET')).toHaveLength(2);
  await browser.platform.change(tenant, 'gate', { on: true });
  await tab.untilValue('gate', 'acme-gate-on');
  await browser.platform.change(tenant, 'gate', { on: false });
  await tab.untilValue('gate', 'acme-gate-off');
  await profile.close();
});

it('offline and back: what was held is served, and what changed meanwhile comes', async () => {
  const profile = await browser.chromium.profile();
  const tab = await browser.openClient(profile, { key, staleAfterSeconds: 1 });
  await tab.untilState('live');
  // The emulation leaves WebSockets alone: the node is away, too.
  await profile.setOffline(true);
  await browser.platform.server.close();
  await tab.untilState('stale');
  expect(await tab.details('gate')).toMatchObject({ value: 'acme-gate-off', variation: 'off', reason: 'STALE' });
  await tab.page.waitForFunction(() => window.guidon.client.status.errorCode === 'unreachable');
  const [{ plane }, path] = [browser.platform, `${tenant.environment}/flags/gate/targeting`];
  const { headers } = await plane.must('GET', path);
  await plane.must('PATCH', path, { body: { on: true }, headers: { 'if-match': String(headers.etag) } });
  await browser.platform.restartNode();
  await browser.platform.untilServed(tenant);
  await profile.setOffline(false);
  await tab.untilValue('gate', 'acme-gate-on');
  await tab.untilState('live');
  expect(await tab.details('gate')).toMatchObject({ reason: 'STATIC' });
  expect(await tab.page.evaluate(() => window.guidon.client.status)).not.toHaveProperty('errorCode');
  await until('the stream is back', async () => (await sockets()) === 1);
  await browser.platform.change(tenant, 'gate', { on: false });
  await tab.untilValue('gate', 'acme-gate-off');
  await profile.close();
});

it('a page that is put aside has no connection, and one that is taken back has', async () => {
  const profile = await browser.chromium.profile();
  const tab = await browser.openClient(profile, { key });
  await until('it is connected', async () => (await sockets()) === 1);
  await tab.page.evaluate(() => document.dispatchEvent(new Event('freeze')));
  await until('it is not', async () => (await sockets()) === 0);
  await browser.platform.change(tenant, 'gate', { on: true });
  await tab.page.evaluate(() => document.dispatchEvent(new Event('resume')));
  await tab.untilValue('gate', 'acme-gate-on');
  await until('it is again', async () => (await sockets()) === 1);
  await browser.platform.change(tenant, 'gate', { on: false });
  await tab.untilValue('gate', 'acme-gate-off');
  await profile.close();
});

it('a tab takes over from a leader that says nothing', async () => {
  const profile = await browser.chromium.profile();
  const first = await browser.openClient(profile, { key });
  await first.untilState('live');
  const name = await first.page.evaluate(async () => (await navigator.locks.query()).held?.[0]?.name ?? '');
  expect(name).toMatch(/^guidon\.v1\.[0-9a-f]{16}$/);
  const mute = await profile.newPage();
  await mute.goto(await browser.pages.addApp('/mute', 'browser/pages/hello.ts'));
  await first.page.evaluate(() => window.guidon.client.close());
  await mute.evaluate((lock) => {
    void navigator.locks.request(lock, () => new Promise(() => undefined));
  }, name);
  const second = await browser.openClient(profile, { key, storage: null });
  await second.untilValue('gate', 'acme-gate-off');
  expect(await second.requests('WEBSOCKET')).toHaveLength(1);
  await profile.close();
});
