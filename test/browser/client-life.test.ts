import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrowserPlatform, type ClientTab } from '../support/browser-platform.js';
import { PageServer } from '../support/page-server.js';
import { until } from '../support/running-node.js';
import type { StreamedTenant } from '../support/streamed-platform.js';

let browser: BrowserPlatform;
let tenant: StreamedTenant;
let key: string;

beforeAll(async () => {
  browser = await BrowserPlatform.start();
  tenant = await browser.platform.addTenant('acme', ['gate', 'other', 'left']);
  key = await browser.addWebKey(tenant);
  const targets = { targets: [{ contextKind: 'user', variation: 'off', keys: ['blocked'] }] };
  await browser.platform.change(tenant, 'gate', { on: true, ...targets });
}, 60_000);

afterAll(async () => {
  await browser?.close();
});

const sockets = () => browser.platform.metric('guidon_stream_connections{transport="websocket"}');
const identify = (tab: ClientTab, targetingKey: string) =>
  tab.page.evaluate((id) => window.guidon.client.identify({ targetingKey: id }), targetingKey);

describe('identify()', () => {
  it('settles with the values of the new context, which are pushed from then on, and leaves the old group', async () => {
    const profile = await browser.chromium.profile();
    const tab = await browser.openClient(profile, { key, context: { targetingKey: 'u1' } });
    const stays = await browser.openClient(profile, { key, context: { targetingKey: 'u1' } });
    await tab.untilValue('gate', 'acme-gate-on');
    expect(await identify(tab, 'blocked')).toBe(true);
    expect(await tab.details('gate')).toMatchObject({ value: 'acme-gate-off', reason: 'TARGETING_MATCH' });
    expect(await tab.page.evaluate(() => window.guidon.changes.at(-1)?.flagKeys)).toEqual(['gate']);
    await until('each context has a connection', async () => (await sockets()) === 2);
    await browser.platform.change(tenant, 'other', { on: true });
    await Promise.all([tab, stays].map((one) => one.untilValue('other', 'acme-other-on')));
    expect(await stays.value('gate')).toBe('acme-gate-on');
    await browser.platform.change(tenant, 'other', { on: false });
    await Promise.all([tab, stays].map((one) => one.untilValue('other', 'acme-other-off')));
    expect([...tab.errors, ...stays.errors]).toEqual([]);
    await profile.close();
  });

  it('the last of several wins; the same context again asks for nothing', async () => {
    const profile = await browser.chromium.profile();
    const tab = await browser.openClient(profile, { key, context: { targetingKey: 'u1' } });
    await tab.untilValue('gate', 'acme-gate-on');
    const outcomes = await tab.page.evaluate(() => {
      const { client } = window.guidon;
      return Promise.all(['u2', 'u3', 'blocked'].map((targetingKey) => client.identify({ targetingKey })));
    });
    expect(outcomes).toEqual([false, false, true]);
    expect(await tab.value('gate')).toBe('acme-gate-off');
    const asked = (await tab.requests('/v1/values')).length;
    expect(await identify(tab, 'blocked')).toBe(true);
    expect(await tab.requests('/v1/values')).toHaveLength(asked);
    await profile.close();
  });
});

it('stored values come first, marked CACHED, and are refreshed', async () => {
  const profile = await browser.chromium.profile();
  const options = { key, context: { targetingKey: 'u1' } };
  const first = await browser.openClient(profile, options);
  await first.untilValue('gate', 'acme-gate-on');
  await first.page.waitForFunction(() => localStorage.length === 2);
  const stored = await first.page.evaluate(() => JSON.stringify(localStorage));
  for (const secret of [key, 'u1']) expect(stored).not.toContain(secret);
  await first.page.close();
  await browser.platform.change(tenant, 'gate', { on: false });

  // Nothing of the node reaches the page until it is let through.
  let letThrough = (): void => undefined;
  const open = new Promise<void>((resolve) => {
    letThrough = resolve;
  });
  await profile.route(`${browser.platform.server.url}/**`, async (route) => {
    await open;
    await route.continue();
  });
  const second = await browser.openClient(profile, options);
  expect(await second.details('gate')).toMatchObject({ value: 'acme-gate-on', reason: 'CACHED' });
  expect(await second.page.evaluate(() => window.guidon.client.status.state)).toBe('cached');
  expect(await second.page.evaluate(() => window.guidon.client.ready())).toBe(true);
  letThrough();
  await second.untilValue('gate', 'acme-gate-off');
  await second.untilState('live');
  expect(await second.details('gate')).toMatchObject({ reason: 'DISABLED' });
  await browser.platform.change(tenant, 'gate', { on: true });
  await second.untilValue('gate', 'acme-gate-on');

  const stranger = await browser.openClient(profile, {
    key,
    context: { targetingKey: 'u9' },
    url: 'http://127.0.0.1:9',
  });
  expect(await stranger.details('gate')).toMatchObject({ value: 'default', errorCode: 'PROVIDER_NOT_READY' });
  expect(await stranger.page.evaluate(() => window.guidon.client.ready(50))).toBe(false);
  await profile.close();
});

describe('another origin', () => {
  it('is refused: no answer reaches the page, which keeps its defaults and says why', async () => {
    const other = await PageServer.start();
    const foreign = await browser.addWebKey(tenant, [other.origin]);
    const profile = await browser.chromium.profile();
    const tab = await browser.openClient(profile, { key: foreign });
    await tab.page.waitForFunction(() => window.guidon.client.status.errorCode === 'unreachable');
    expect(await tab.details('gate')).toMatchObject({ value: 'default', errorCode: 'PROVIDER_NOT_READY' });
    expect(await tab.page.evaluate(() => window.guidon.warnings)).toEqual(['the node cannot be asked: unreachable']);
    expect(tab.errors.join()).toContain('CORS');
    expect(await tab.requests('WEBSOCKET')).toEqual([]);
    await profile.close();
    await other.close();
  });

  it('is served where the key allows it, or any', async () => {
    const any = await browser.addWebKey(tenant, ['*']);
    const profile = await browser.chromium.profile();
    const tab = await browser.openClient(profile, { key: any });
    await tab.untilValue('gate', 'acme-gate-on');
    await until('it is connected', async () => (await sockets()) === 1);
    await profile.close();
  });
});

describe('events', () => {
  const usage = async (flag: string) =>
    (await browser.platform.plane.must('GET', `${tenant.environment}/flags/${flag}/usage`)).body;

  it('are sent when the page is left, once per use', async () => {
    // A flag that no other test uses: pages of theirs send events, too.
    const profile = await browser.chromium.profile();
    const tab = await browser.openClient(profile, {
      key,
      context: { targetingKey: 'u1', email: 'never@sent.example' },
    });
    await tab.untilValue('left', 'acme-left-off');
    // Answered: one token for the stream, one for the events of the first use.
    await tab.page.waitForFunction(() => {
      const answered = performance.getEntriesByType('resource').map(({ name }) => name);
      return answered.filter((name) => name.endsWith('/v1/stream/token')).length === 2;
    });
    await tab.page.evaluate(() => {
      const { client } = window.guidon;
      for (let count = 0; count < 5; count += 1) {
        client.string('left', '');
        client.string('gaet', '');
      }
      client.track('bought', { value: 9.5, data: { currency: 'EUR' } });
    });
    await tab.page.goto(await browser.pages.addApp('/next', 'browser/pages/hello.ts'));
    const beacons = await tab.page.evaluate(() => localStorage.getItem('beacons') ?? '');
    const [body = '', ...others] = beacons.trim().split('\n');
    expect(others).toEqual([]);
    expect(body).toContain('/v1/events?streamToken=e.');
    expect(body).not.toContain(key);
    expect(body).not.toContain('never@sent.example');
    const { sdk, events } = JSON.parse(body.slice(body.indexOf(' ')));
    expect(sdk).toEqual({ name: '@guidon/browser-sdk', version: '0.1.0' });
    expect(events).toMatchObject([
      { kind: 'exposure', flag: 'left', variation: 'off', context: { targetingKey: 'u1' } },
      { kind: 'metric', key: 'bought', value: 9.5, data: { currency: 'EUR' }, context: { targetingKey: 'u1' } },
      { kind: 'summary', counts: [{ flag: 'gaet', variation: null, errorCode: 'FLAG_NOT_FOUND', count: 5 }] },
    ]);
    await until('the control plane has counted them', async () => (await usage('left')).exposures === 1);
    const unknown = await browser.platform.plane.must('GET', `${tenant.environment}/unknown-flags`);
    expect(unknown.body.items).toMatchObject([{ flag: 'gaet', count: 5 }]);
    await profile.close();
  });

  it('flush() sends them with the key, and a second use of the same is no event', async () => {
    const profile = await browser.chromium.profile();
    const tab = await browser.openClient(profile, { key, context: { targetingKey: 'u2' } });
    await tab.untilValue('gate', 'acme-gate-on');
    const flush = () => tab.page.evaluate(() => window.guidon.client.flush());
    await flush();
    expect(await tab.requests('/v1/events')).toHaveLength(1);
    await tab.value('gate');
    await flush();
    expect(await tab.requests('/v1/events')).toHaveLength(1);
    await identify(tab, 'u3');
    await tab.value('gate');
    await flush();
    expect(await tab.requests('/v1/events')).toHaveLength(2);
    expect(tab.errors).toEqual([]);
    await profile.close();
  });
});
