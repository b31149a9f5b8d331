import { afterAll, beforeAll, expect, it } from 'vitest';
import { bundle, bundleBytes } from '../support/bundle.js';
import { Chromium, openPage } from '../support/chromium.js';
import { PageServer } from '../support/page-server.js';

let chromium: Chromium;
let pages: PageServer;

beforeAll(async () => {
  [chromium, pages] = await Promise.all([Chromium.start(), PageServer.start()]);
});

afterAll(async () => {
  await Promise.all([chromium?.close(), pages?.close()]);
});

it('openPage() runs a bundled page in a secure context and reports what went wrong in it', async () => {
  const profile = await chromium.profile();
  const good = await openPage(profile, await pages.addApp('/', 'browser/pages/hello.ts'));
  await good.page.waitForFunction(() => document.title === 'hello');
  expect(await good.page.textContent('#root')).toBe(`hello from ${pages.origin}, secure: true`);
  expect(good.errors).toEqual([]);

  const source = 'console.error("said"); throw new Error("thrown")';
  const bad = await openPage(profile, await pages.addApp('/bad', 'browser/pages/hello.ts', { source }));
  expect(bad.errors).toEqual(['said', 'Error: thrown']);
  await profile.close();
});

it('bundle() refuses what it cannot resolve', async () => {
  await expect(bundle('support/bundled.ts', { source: 'import "@guidon/nothing"' })).rejects.toThrow('@guidon/nothing');
});

it('bundleBytes() counts what a page loads, without what stays outside', async () => {
  const source = 'import { createElement } from "react"; export const element = createElement("p")';
  const inside = await bundleBytes(source);
  const outside = await bundleBytes(source, ['react']);
  expect(outside).toBeGreaterThan(20);
  expect(outside).toBeLessThan(200);
  expect(inside).toBeGreaterThan(10 * outside);
});
