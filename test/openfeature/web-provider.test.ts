import { createTestClient, type TestClient } from '@guidon/browser-sdk';
import { GuidonWebProvider } from '@guidon/openfeature-web';
import { generateCredential } from '@guidon/protocol/signed-config';
import { OpenFeature, ProviderEvents, ProviderStatus } from '@openfeature/web-sdk';
import type { BrowserContext, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { bundleBytes } from '../support/bundle.js';
import { Chromium, openPage } from '../support/chromium.js';
import { FLAGS, OpenFeatureNode } from '../support/openfeature-node.js';
import { PageServer } from '../support/page-server.js';

/** The provider for the web through OpenFeature's own API: in Chromium against a real node, and what needs none with a test client. */
let platform: OpenFeatureNode;
let chromium: Chromium;
let pages: PageServer;
let pageUrl: string;
let key: string;

beforeAll(async () => {
  [platform, chromium, pages] = await Promise.all([OpenFeatureNode.start(), Chromium.start(), PageServer.start()]);
  pageUrl = await pages.addApp('/provider', 'openfeature/pages/web-provider.ts');
  key = await platform.webKey(pages.origin);
}, 60_000);
afterEach(() => OpenFeature.clearProviders());
afterAll(async () => {
  await chromium?.close();
  await pages?.close();
  await platform?.stop();
});

async function open(profile: BrowserContext, options: object): Promise<Page> {
  const all = { url: platform.url, key, context: { targetingKey: 'u1' }, ...options };
  const { page } = await openPage(profile, `${pageUrl}#${encodeURIComponent(JSON.stringify(all))}`);
  await page.waitForFunction(() => document.title === 'ready');
  return page;
}

describe('in a browser', () => {
  it('resolves every type, reason and error', async () => {
    const profile = await chromium.profile();
    const page = await open(profile, {});
    const details = await page.evaluate(() => {
      const client = window.openfeature.api.getClient();
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
        objectDefault: client.getObjectDetails('string', 'text'),
      };
    });
    expect(details).toMatchObject({
      boolean: { value: true, variant: 'on', reason: 'STATIC' },
      string: { value: 'shown', reason: 'STATIC' },
      number: { value: 2.5 },
      object: { value: { deep: [1, { é: '漢🌍' }] } },
      disabled: { value: 'hidden', variant: 'off', reason: 'DISABLED' },
      ruled: { value: 'other', reason: 'DEFAULT' },
      split: { value: 'shown', reason: 'SPLIT' },
      future: { value: 'default', reason: 'ERROR', errorCode: 'PARSE_ERROR' },
      nowhere: {
        value: 'default',
        reason: 'ERROR',
        errorCode: 'FLAG_NOT_FOUND',
        errorMessage: expect.stringMatching(/./),
      },
      mismatch: { value: 'default', reason: 'ERROR', errorCode: 'TYPE_MISMATCH' },
      objectDefault: { value: 'text', errorCode: 'TYPE_MISMATCH' },
    });
    await profile.close();
  });

  it('reconciles with another context, and tells of it by one event and no change of configuration', async () => {
    const profile = await chromium.profile();
    const page = await open(profile, {});
    const told = await page.evaluate(async () => {
      const { api, events } = window.openfeature;
      const before = events.length;
      await api.setContext({ targetingKey: 'u1', country: 'NL' });
      return {
        details: api.getClient().getStringDetails('ruled', ''),
        types: events.slice(before).map(({ type }) => type),
      };
    });
    expect(told.details).toMatchObject({ value: 'off', reason: 'TARGETING_MATCH', flagMetadata: { ruleId: 'dutch' } });
    expect(told.types).toEqual(['PROVIDER_RECONCILING', 'PROVIDER_CONTEXT_CHANGED']);
    await profile.close();
  });

  it('is READY once, and tells which flags changed when they are pushed', async () => {
    const profile = await chromium.profile();
    const page = await open(profile, {});
    const [string] = FLAGS.filter((flag) => flag.key === 'string');
    if (string === undefined) throw new Error('there is a string flag');
    await platform.change([{ ...string, on: false }]);
    await page.waitForFunction(() => window.openfeature.api.getClient().getStringValue('string', '') === 'hidden');
    const events = await page.evaluate(() => window.openfeature.events);
    expect(events.filter(({ type }) => type === 'PROVIDER_READY')).toHaveLength(1);
    expect(events.at(-1)).toEqual({ type: 'PROVIDER_CONFIGURATION_CHANGED', flagsChanged: ['string'] });
    await platform.change([string]);
    await page.waitForFunction(() => window.openfeature.api.getClient().getStringValue('string', '') === 'shown');
    await profile.close();
  });

  it.each([
    ['FATAL, with a key that nobody has', () => ({ key: generateCredential('web').token }), 'FATAL'],
    ['ERROR, when no node answers', () => ({ url: 'http://127.0.0.1:9', readySeconds: 0.3 }), 'ERROR'],
  ])('is %s', async (_, options, status) => {
    const profile = await chromium.profile();
    const page = await open(profile, options());
    const { failure, ...seen } = await page.evaluate(() => ({
      failure: window.openfeature.failure,
      status: window.openfeature.api.getClient().providerStatus,
      details: window.openfeature.api.getClient().getStringDetails('string', 'default'),
      // The context was set before the provider was.
      types: window.openfeature.events.map(({ type }) => type).filter((type) => type !== 'PROVIDER_CONTEXT_CHANGED'),
    }));
    expect(failure).toContain('there are no values yet');
    expect(seen).toMatchObject({ status, details: { value: 'default', reason: 'ERROR' }, types: ['PROVIDER_ERROR'] });
    await profile.close();
  });
});

describe('with a test client', () => {
  async function testing(client: TestClient = createTestClient({ flag: 'value' })) {
    const provider = new GuidonWebProvider({
      url: 'http://test',
      key: 'gdn_web_test',
      createClient: () => client,
      readySeconds: 0.05,
    });
    await OpenFeature.setProviderAndWait(provider);
    return client;
  }

  it('passes contexts on as JSON, tracks, and tells of changes', async () => {
    const test = await testing();
    await OpenFeature.setContext({ targetingKey: 'u2', since: new Date(0), none: undefined as never });
    expect(test.context).toEqual({ targetingKey: 'u2', since: '1970-01-01T00:00:00.000Z' });
    const client = OpenFeature.getClient();
    client.track('bought', { value: 2, currency: 'EUR' });
    client.track('seen');
    expect(test.tracked).toEqual([{ name: 'bought', value: 2, data: { currency: 'EUR' } }, { name: 'seen' }]);
    expect(client.getStringValue('flag', '')).toBe('value');
  });

  it('is in ERROR when the values of a context do not come, READY when they do after all, and an older context says nothing', async () => {
    const test = createTestClient({ flag: 'value' });
    const answers: ((isThere: boolean) => void)[] = [];
    test.identify = () => new Promise((resolve) => answers.push(resolve));
    await testing(test);
    const client = OpenFeature.getClient();
    const failures: string[] = [];
    client.addHandler(ProviderEvents.Error, () => void failures.push('failed'));
    const first = OpenFeature.setContext({ targetingKey: 'a' });
    const second = OpenFeature.setContext({ targetingKey: 'b' });
    answers[1]?.(true);
    answers[0]?.(false);
    await Promise.all([first, second]);
    expect([client.providerStatus, failures]).toEqual([ProviderStatus.READY, []]);
    const third = OpenFeature.setContext({ targetingKey: 'c' });
    answers[2]?.(false);
    await third;
    expect(client.providerStatus).toBe(ProviderStatus.ERROR);
    expect(client.getStringValue('flag', '')).toBe('value');
    test.set('flag', 'later');
    expect(client.providerStatus).toBe(ProviderStatus.READY);
  });
});

it('adds at most 3 kB to the browser SDK', async () => {
  const outside = [/^@openfeature\//];
  const sdk = "export { createBrowserClient } from '@guidon/browser-sdk';";
  const alone = await bundleBytes(sdk, outside);
  const together = await bundleBytes(`${sdk} export { GuidonWebProvider } from '@guidon/openfeature-web';`, outside);
  console.log(`OpenFeature web provider: ${together - alone} bytes of 3000 on top of ${alone}`);
  expect(together - alone).toBeGreaterThan(300);
  expect(together - alone).toBeLessThanOrEqual(3_000);
});
