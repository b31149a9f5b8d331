import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Chromium, openPage } from '../support/chromium.js';
import { aFlag } from '../support/flag-sets.js';
import { FLAGS, OpenFeatureNode } from '../support/openfeature-node.js';
import { PageServer } from '../support/page-server.js';
import { metricOf, until } from '../support/running-node.js';

/** The published `@openfeature/ofrep-web-provider` in a real browser, on a page of another origin than the node. */
let platform: OpenFeatureNode;
let chromium: Chromium;
let pages: PageServer;
let pageUrl: string;
let key: string;

beforeAll(async () => {
  [platform, chromium, pages] = await Promise.all([OpenFeatureNode.start(), Chromium.start(), PageServer.start()]);
  pageUrl = await pages.addApp('/ofrep', 'openfeature/pages/ofrep.ts');
  key = await platform.webKey(pages.origin);
}, 60_000);
afterAll(async () => {
  await chromium?.close();
  await pages?.close();
  await platform?.stop();
});

async function open(profile: BrowserContext, options: object): Promise<Page> {
  const all = { baseUrl: platform.url, key, pollInterval: 0, changeDetection: 'sse', ...options };
  const { page } = await openPage(profile, `${pageUrl}#${encodeURIComponent(JSON.stringify(all))}`);
  await page.waitForFunction(() => document.title === 'ready');
  return page;
}

const streams = () => metricOf(platform.node, 'guidon_stream_connections{transport="refetch"}');

describe('the OFREP provider for the web', () => {
  it('has every type, reason and error from one bulk answer', async () => {
    const profile = await chromium.profile();
    const page = await open(profile, {});
    const details = await page.evaluate(() => {
      const client = window.ofrep.api.getClient();
      return {
        boolean: client.getBooleanDetails('boolean', false),
        string: client.getStringDetails('string', 'default'),
        number: client.getNumberDetails('number', 7),
        object: client.getObjectDetails('object', {}),
        disabled: client.getStringDetails('disabled', 'default'),
        ruled: client.getStringDetails('ruled', 'default'),
        split: client.getStringDetails('split', 'default'),
        future: client.getStringDetails('future', 'default'),
        nowhere: client.getStringDetails('nowhere', 'default'),
        mismatch: client.getStringDetails('number', 'default'),
      };
    });
    const flagMetadata = { flagSetId: 'prj-main/env-main', version: expect.stringMatching(/^1\.\d+$/) };
    expect(details).toMatchObject({
      boolean: { value: true, variant: 'on', reason: 'STATIC', flagMetadata },
      string: { value: 'shown', reason: 'STATIC' },
      number: { value: 2.5 },
      object: { value: { deep: [1, { é: '漢🌍' }] } },
      disabled: { value: 'hidden', variant: 'off', reason: 'DISABLED' },
      ruled: { value: 'other', reason: 'DEFAULT' },
      split: { value: 'shown', reason: 'SPLIT' },
      future: { value: 'default', reason: 'ERROR', errorCode: 'PARSE_ERROR' },
      nowhere: { value: 'default', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' },
      mismatch: { value: 'default', reason: 'ERROR', errorCode: 'TYPE_MISMATCH' },
    });
    // With the same targeting key the client serves what it stored first.
    await page.evaluate(() => window.ofrep.api.setContext({ targetingKey: 'u1', country: 'NL' }));
    await page.waitForFunction(() => window.ofrep.api.getClient().getStringValue('ruled', '') === 'off');
    const byRule = await page.evaluate(() => window.ofrep.api.getClient().getStringDetails('ruled', 'default'));
    expect(byRule).toMatchObject({ value: 'off', reason: 'TARGETING_MATCH', flagMetadata: { ruleId: 'dutch' } });
    await profile.close();
  });

  it('hears of a change by its event stream and shows it, with the barrier in its question', async () => {
    const profile = await chromium.profile();
    const page = await open(profile, {});
    await until('the stream is open', async () => (await streams()) >= 1);
    const [string] = FLAGS.filter((flag) => flag.key === 'string');
    if (string === undefined) throw new Error('there is a string flag');
    await platform.change([{ ...string, on: false }]);
    await page.waitForFunction(() => window.ofrep.api.getClient().getStringValue('string', '') === 'hidden');
    const { answers, events } = await page.evaluate(() => ({
      answers: window.ofrep.answers,
      events: window.ofrep.events,
    }));
    expect(events.at(-1)).toEqual({
      type: 'PROVIDER_CONFIGURATION_CHANGED',
      flagsChanged: expect.arrayContaining(['string']),
    });
    expect(new URL(answers.at(-1)?.url ?? '').searchParams.get('flagConfigEtag')).toMatch(/^1\.\d+$/);
    // What changes nothing for this context is told as well, and answered without a body.
    await platform.environment.publish([aFlag('for-servers')]);
    await page.waitForFunction(() => window.ofrep.answers.at(-1)?.status === 304);
    await platform.change([string]);
    await page.waitForFunction(() => window.ofrep.api.getClient().getStringValue('string', '') === 'shown');
    await profile.close();
    await until('the stream is gone', async () => (await streams()) === 0);
  });

  it('polls with the ETag of the answer before and is answered 304 from another origin', async () => {
    const profile = await chromium.profile();
    const page = await open(profile, { pollInterval: 100, changeDetection: 'polling' });
    await page.waitForFunction(() => window.ofrep.answers.filter(({ status }) => status === 304).length >= 3);
    const answers = await page.evaluate(() => window.ofrep.answers);
    expect(answers[0]).toMatchObject({ status: 200, etag: expect.stringMatching(/^"[\w-]{43}"$/) });
    expect(new Set(answers.map(({ etag }) => etag)).size).toBe(1);
    await profile.close();
  });

  it('serves what it stored when the page is opened again, and connects its stream from it', async () => {
    const profile = await chromium.profile();
    const first = await open(profile, {});
    await first.close();
    const again = await open(profile, {});
    await again.waitForFunction(() => window.ofrep.answers.at(-1)?.status === 304);
    await until('the stream of the stored answer is open', async () => (await streams()) >= 1);
    expect(await again.evaluate(() => window.ofrep.api.getClient().getStringValue('string', ''))).toBe('shown');
    await profile.close();
  });

  it.each([
    ['nobody has', () => 'nobody', [expect.objectContaining({ status: 401 })]],
    // What a page of another origin is answered is not for it to read.
    ['is for another origin', () => platform.webKey('https://other.example.test'), []],
  ])('is in error with a key that %s', async (_, keyOf, answers) => {
    const profile = await chromium.profile();
    const page = await open(profile, { key: await keyOf() });
    const status = await page.evaluate(() => window.ofrep.api.getClient().providerStatus);
    expect(['ERROR', 'FATAL']).toContain(status);
    expect(await page.evaluate(() => window.ofrep.answers)).toEqual(answers);
    await profile.close();
  });
});
