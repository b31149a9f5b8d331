import { type Bootstrap, createBrowserClient } from '@guidon/browser-sdk';
import { createElement } from 'react';
import { renderToString } from 'react-dom/server';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { BrowserPlatform } from '../support/browser-platform.js';
import { openPage, type WatchedPage } from '../support/chromium.js';
import type { StreamedTenant } from '../support/streamed-platform.js';
import { App } from './pages/react-app.js';

let browser: BrowserPlatform;
let tenant: StreamedTenant;
let key: string;
let pageCount = 0;

beforeAll(async () => {
  browser = await BrowserPlatform.start();
  tenant = await browser.platform.addTenant('acme', ['gate', 'other']);
  key = await browser.addWebKey(tenant);
}, 60_000);

afterAll(async () => {
  await browser?.close();
});

const CONTEXT = { targetingKey: 'u1' };

/** What a server asks a node for. */
async function bootstrapOf(): Promise<Bootstrap> {
  const answer = await fetch(`${browser.platform.server.url}/v1/values`, {
    method: 'POST',
    headers: { authorization: `Bearer ${tenant.srv}`, 'content-type': 'application/json' },
    body: JSON.stringify({ context: CONTEXT }),
  });
  return JSON.parse(await answer.text());
}

async function open(options: { bootstrap?: Bootstrap; hydrateAt?: string }): Promise<WatchedPage> {
  const { url } = browser.platform.server;
  const { bootstrap } = options;
  let markup = '';
  if (bootstrap !== undefined) {
    const client = createBrowserClient({ url, key, context: CONTEXT, bootstrap });
    markup = renderToString(createElement(App, { client, renders: {} }));
  }
  pageCount += 1;
  const text = JSON.stringify({ url, key, context: CONTEXT, ...options }).replaceAll('<', '\\u003c');
  const body = `<div id="root">${markup}</div><script type="application/json" id="options">${text}</script>`;
  const path = await browser.pages.addApp(`/react-${pageCount}`, 'browser/pages/hydrate.tsx', { body });
  return openPage(await browser.chromium.profile(), path);
}

const untilText = ({ page }: WatchedPage, id: string, text: string) =>
  page.waitForFunction(([at, expected]) => document.querySelector(`#${at}`)?.textContent === expected, [id, text]);
const textsOf = ({ page }: WatchedPage) => page.evaluate(() => window.hydrated.texts);

it('hydrates what the server rendered without a flash, and renders again what changed alone', async () => {
  const opened = await open({ bootstrap: await bootstrapOf() });
  const { page, errors } = opened;
  await page.waitForFunction(() => window.hydrated?.client.status.revision > 0);
  const before = await page.evaluate(() => ({ ...window.hydrated.renders }));
  await browser.platform.change(tenant, 'gate', { on: true });
  await untilText(opened, 'gate', 'acme-gate-on');
  await untilText(opened, 'details', 'acme-gate-on STATIC ');
  const after = await page.evaluate(() => ({ ...window.hydrated.renders }));
  expect(after.gate).toBe((before.gate ?? 0) + 1);
  expect(after.other).toBe(before.other);
  expect(await textsOf(opened)).toEqual({
    gate: ['acme-gate-off', 'acme-gate-on'],
    other: ['acme-other-off'],
    details: ['acme-gate-off DISABLED ', 'acme-gate-on STATIC '],
    late: ['acme-other-off'],
  });
  expect(errors).toEqual([]);
  await page.context().close();
});

it('hydrates as it was rendered although something newer came first', async () => {
  await browser.platform.change(tenant, 'gate', { on: true });
  const bootstrap = await bootstrapOf();
  expect(bootstrap.results.find(({ flag }) => flag === 'gate')?.value).toBe('acme-gate-on');
  await browser.platform.change(tenant, 'gate', { on: false });
  const opened = await open({ bootstrap, hydrateAt: 'acme-gate-off' });
  await untilText(opened, 'gate', 'acme-gate-off');
  expect((await textsOf(opened)).gate).toEqual(['acme-gate-on', 'acme-gate-off']);
  expect(opened.errors).toEqual([]);
  await opened.page.context().close();
});

it('useSuspenseFlag() waits for the first values', async () => {
  const opened = await open({});
  await untilText(opened, 'late', 'acme-other-off');
  const texts = await textsOf(opened);
  expect(texts.late).toEqual(['waiting', 'acme-other-off']);
  expect(texts.gate).toEqual(['default', 'acme-gate-off']);
  expect(opened.errors).toEqual([]);
  await opened.page.context().close();
});
