import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type Bootstrap, createBrowserClient } from '@guidon/browser-sdk';
import { createClient } from '@guidon/server-sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BrowserPlatform } from '../support/browser-platform.js';
import { bundle } from '../support/bundle.js';
import { openPage } from '../support/chromium.js';
import type { StreamedTenant } from '../support/streamed-platform.js';

/** The samples of docs/sdk-browser.md and docs/sdk-react.md, as they stand there, against real parts. */
const run = promisify(execFile);
const samplesOf = (file: string): string[] => {
  const page = readFileSync(new URL(`../../docs/${file}`, import.meta.url), 'utf8');
  return [...page.matchAll(/^```tsx?\n([\s\S]*?)^```/gm)].map(([, code]) => code ?? '');
};
const [start = '', tested = ''] = samplesOf('sdk-browser.md');
const [reactStart = '', rendered = '', reactTested = ''] = samplesOf('sdk-react.md');

let browser: BrowserPlatform;
let tenant: StreamedTenant;
let key: string;

beforeAll(async () => {
  browser = await BrowserPlatform.start();
  tenant = await browser.platform.addTenant('acme', ['theme']);
  key = await browser.addWebKey(tenant);
}, 60_000);

afterAll(async () => {
  await browser?.close();
});

const filled = (sample: string): string =>
  sample.replace('https://flags.example.com', browser.platform.server.url).replace('gdn_web_…', key);

/** Runs a sample in Node; packages are imported as they are. */
async function runModule(sample: string): Promise<string> {
  const code = await bundle('browser/sample.tsx', { source: sample, external: [/^[@a-z]/] });
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', code], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    env: { PATH: process.env.PATH, GUIDON_URL: browser.platform.server.url, GUIDON_WEB_KEY: key },
    timeout: 60_000,
  });
  return stdout.trim();
}

describe('docs/sdk-browser.md', () => {
  it('starts in ten lines, and shows a change', async () => {
    const source = filled(start);
    expect(source.split('\n').filter((line) => line !== '' && !line.startsWith('//')).length).toBeLessThanOrEqual(10);
    const url = await browser.pages.addApp('/sample', 'browser/sample.tsx', { source });
    const { page, errors } = await openPage(await browser.chromium.profile(), url);
    await page.waitForFunction(() => document.title === 'acme-theme-off');
    await browser.platform.change(tenant, 'theme', { on: true });
    await page.waitForFunction(() => document.title === 'acme-theme-on');
    await browser.platform.change(tenant, 'theme', { on: false });
    await page.waitForFunction(() => document.title === 'acme-theme-off');
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('tests without a node', async () => {
    expect(await runModule(tested)).toBe('false 1');
  });

  it('takes its bootstrap from the server SDK', async () => {
    const { url } = browser.platform.server;
    const { trustRoot } = browser.platform.plane.running;
    const server = createClient({ url, key: tenant.srv, trustRoot });
    await server.waitForReady({ timeoutMs: 20_000 });
    const bootstrap: Bootstrap = server.allFlags({ targetingKey: 'u1' }, { clientSideOnly: true });
    await server.close();
    const client = createBrowserClient({ url, key, bootstrap });
    expect(client.stringDetails('theme', 'light')).toMatchObject({
      value: 'acme-theme-off',
      reason: 'DISABLED',
      revision: bootstrap.revision,
    });
  });
});

describe('docs/sdk-react.md', () => {
  it('starts in a page', async () => {
    const url = await browser.pages.addApp('/react-sample', 'browser/sample.tsx', { source: filled(reactStart) });
    const { page, errors } = await openPage(await browser.chromium.profile(), url);
    await page.waitForFunction(() => document.querySelector('h1')?.textContent === 'acme-theme-off');
    expect(errors).toEqual([]);
    await page.context().close();
  });

  it('renders on a server, whose program ends by itself', async () => {
    expect(await runModule(rendered)).toBe('<h1>acme-theme-off</h1>');
  });

  it('tests without a node', async () => {
    expect(await runModule(reactTested)).toBe('<h1>dark</h1>');
  });
});
