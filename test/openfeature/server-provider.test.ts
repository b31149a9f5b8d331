import { createServer } from 'node:net';
import { GuidonProvider } from '@guidon/openfeature-server';
import { generateCredential } from '@guidon/protocol/signed-config';
import { createClient, createTestClient } from '@guidon/server-sdk';
import {
  type Client,
  type EvaluationContext,
  type EventDetails,
  type Hook,
  OpenFeature,
  ProviderEvents,
  ProviderStatus,
} from '@openfeature/server-sdk';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { flagsIn, OpenFeatureNode } from '../support/openfeature-node.js';
import { startNode, until } from '../support/running-node.js';

/** The provider for servers through OpenFeature's own API: scenarios of the specification's suites, and its events against real nodes. */
let platform: OpenFeatureNode;

beforeAll(async () => {
  platform = await OpenFeatureNode.start();
});
afterEach(async () => {
  OpenFeature.clearHooks();
  OpenFeature.setContext({});
  await OpenFeature.clearProviders();
});
afterAll(() => platform.stop());

let domainCount = 0;
const domainOf = (): string => {
  domainCount += 1;
  return `server-${domainCount}`;
};

async function connected(options: object = {}): Promise<Client> {
  const domain = domainOf();
  const client = createClient({ url: platform.url, key: platform.srv, trustRoot: platform.feed.trustRoot, ...options });
  await OpenFeature.setProviderAndWait(domain, new GuidonProvider(client));
  return OpenFeature.getClient(domain);
}

/** Of a client: each event, in order. */
function recorded(client: Client): { type: string; flagsChanged: readonly string[] | undefined }[] {
  const events: { type: string; flagsChanged: readonly string[] | undefined }[] = [];
  for (const type of Object.values(ProviderEvents)) {
    client.addHandler(type, (details?: EventDetails) => {
      events.push({ type, flagsChanged: flagsIn(details) });
    });
  }
  return events;
}

const user: EvaluationContext = { targetingKey: 'u1' };
const metadata = { flagSetId: expect.any(String), version: expect.stringMatching(/^1\.\d+$/) };

describe('evaluation (appendix B: evaluation)', () => {
  it('resolves every type, and its details', async () => {
    const client = await connected();
    const served = { variant: 'on', reason: 'STATIC', flagMetadata: metadata };
    expect(await client.getBooleanValue('boolean', false, user)).toBe(true);
    expect(await client.getStringValue('string', 'default', user)).toBe('shown');
    expect(await client.getNumberValue('number', 7, user)).toBe(2.5);
    expect(await client.getObjectValue('object', {}, user)).toEqual({ deep: [1, { é: '漢🌍' }] });
    expect(await client.getBooleanDetails('boolean', false, user)).toMatchObject({ ...served, value: true });
    expect(await client.getObjectDetails('object', {}, user)).toMatchObject(served);
    expect(client.metadata.providerMetadata.name).toBe('guidon');
  });

  it.each([
    ['disabled', user, { value: 'hidden', variant: 'off', reason: 'DISABLED' }],
    ['ruled', user, { value: 'other', variant: 'on', reason: 'DEFAULT' }],
    ['ruled', { country: 'NL' }, { value: 'off', reason: 'TARGETING_MATCH', flagMetadata: { ruleId: 'dutch' } }],
    ['split', user, { value: 'shown', reason: 'SPLIT' }],
    ['split', {}, { value: 'default', reason: 'ERROR', errorCode: 'TARGETING_KEY_MISSING' }],
    ['future', user, { value: 'default', reason: 'ERROR', errorCode: 'PARSE_ERROR' }],
    ['nowhere', user, { value: 'default', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' }],
    ['number', user, { value: 'default', reason: 'ERROR', errorCode: 'TYPE_MISMATCH' }],
  ] as const)('%s for %o', async (key, context, expected) => {
    const client = await connected();
    const details = await client.getStringDetails(key, 'default', context);
    expect(details).toMatchObject(expected);
    if (details.reason === 'ERROR')
      expect([details.variant, details.errorMessage]).toEqual([undefined, expect.any(String)]);
  });

  it('gives defaults of any type back where a flag is no object, and a context that refers to itself is invalid', async () => {
    const client = await connected();
    expect(await client.getObjectDetails('string', 'text', user)).toMatchObject({
      value: 'text',
      errorCode: 'TYPE_MISMATCH',
    });
    expect(await client.getObjectDetails('nowhere', [1], user)).toMatchObject({
      value: [1],
      errorCode: 'FLAG_NOT_FOUND',
    });
    const circular: EvaluationContext = { targetingKey: 'u1' };
    circular.self = circular;
    const details = await client.getStringDetails('string', 'default', circular);
    expect(details).toMatchObject({ value: 'default', reason: 'ERROR', errorCode: 'INVALID_CONTEXT' });
  });
});

describe('context (appendix B: contextMerging) and hooks (appendix B: hooks)', () => {
  async function testing() {
    const domain = domainOf();
    const test = createTestClient({ flag: 'value' });
    await OpenFeature.setProviderAndWait(domain, new GuidonProvider(test));
    return { test, client: OpenFeature.getClient(domain) };
  }

  it('merges API, client, invocation and before hooks, the later over the earlier; dates become text', async () => {
    const { test, client } = await testing();
    const levels = (level: string, names: string[]): EvaluationContext =>
      Object.fromEntries(names.map((name) => [name, level]));
    OpenFeature.setContext(levels('api', ['a', 'b', 'c', 'd']));
    client.setContext(levels('client', ['b', 'c', 'd']));
    const hook: Hook = { before: async () => levels('hook', ['d']) };
    const since = new Date('2026-01-02T03:04:05.678Z');
    await client.getStringValue(
      'flag',
      '',
      { ...levels('invocation', ['c', 'd']), since, list: [since, Number.NaN] },
      { hooks: [hook] },
    );
    expect(test.evaluations[0]?.context).toEqual({
      a: 'api',
      b: 'client',
      c: 'invocation',
      d: 'hook',
      since: '2026-01-02T03:04:05.678Z',
      list: ['2026-01-02T03:04:05.678Z', null],
    });
  });

  it('runs before from API to invocation, the others the other way, error for what failed, finally always', async () => {
    const { client } = await testing();
    const stages: string[] = [];
    const named = (name: string): Hook => ({
      before: async () => void stages.push(`before ${name}`),
      after: () => void stages.push(`after ${name}`),
      error: () => void stages.push(`error ${name}`),
      finally: (_, { reason }) => void stages.push(`finally ${name} ${reason}`),
    });
    OpenFeature.addHooks(named('api'));
    client.addHooks(named('client'));
    await client.getStringValue('flag', '', {}, { hooks: [named('call')] });
    expect(stages).toEqual([
      ...['api', 'client', 'call'].map((name) => `before ${name}`),
      ...['call', 'client', 'api'].map((name) => `after ${name}`),
      ...['call', 'client', 'api'].map((name) => `finally ${name} STATIC`),
    ]);
    stages.length = 0;
    await client.getBooleanValue('flag', false, {}, { hooks: [named('call')] });
    expect(stages.filter((stage) => /^(after|error|finally) call/.test(stage))).toEqual([
      'error call',
      'finally call ERROR',
    ]);
  });

  it('tracks with a value and data, and without', async () => {
    const { test, client } = await testing();
    client.track('bought', { targetingKey: 'u1' }, { value: 99.5, currency: 'EUR', at: new Date(0) });
    client.track('seen');
    expect(test.tracked).toEqual([
      {
        name: 'bought',
        context: { targetingKey: 'u1' },
        value: 99.5,
        data: { currency: 'EUR', at: '1970-01-01T00:00:00.000Z' },
      },
      { name: 'seen', context: {} },
    ]);
  });
});

describe('status and events (sections 1.7, 2.4 and 5)', () => {
  it('is READY once, tells of what changed, and closes its client', async () => {
    const domain = domainOf();
    const client = OpenFeature.getClient(domain);
    const events = recorded(client);
    const guidon = createClient({ url: platform.url, key: platform.srv, trustRoot: platform.feed.trustRoot });
    await OpenFeature.setProviderAndWait(domain, new GuidonProvider(guidon));
    expect(client.providerStatus).toBe(ProviderStatus.READY);
    await platform.environment.publish([aFlag('added')]);
    await until('the change is told', () =>
      events.some(({ flagsChanged }) => flagsChanged?.includes('added') === true),
    );
    expect(await client.getStringValue('added', '')).toBe('no');
    expect(events.filter(({ type }) => type === ProviderEvents.Ready)).toHaveLength(1);
    expect(events.filter(({ type }) => type === ProviderEvents.ConfigurationChanged)).toHaveLength(1);
    await OpenFeature.clearProviders();
    expect(guidon.status().state).toBe('closed');
  });

  it('is READY with a bootstrap, and not once more when a node is reached', async () => {
    const port = await freePort();
    const domain = domainOf();
    const client = OpenFeature.getClient(domain);
    const events = recorded(client);
    const guidon = createClient({
      url: `http://127.0.0.1:${port}`,
      key: platform.srv,
      trustRoot: platform.feed.trustRoot,
      bootstrap: { values: { string: 'from the bootstrap' } },
      logger: { warn: () => undefined },
    });
    await OpenFeature.setProviderAndWait(domain, new GuidonProvider(guidon, { readySeconds: 0.1 }));
    const cached = await client.getStringDetails('string', 'default', user);
    expect(cached).toMatchObject({ value: 'from the bootstrap', reason: 'CACHED' });
    const node = await startNode(platform.feed, { port });
    await until('live', () => guidon.status().state === 'live', 60_000);
    expect(await client.getStringDetails('string', 'default', user)).toMatchObject({
      value: 'shown',
      reason: 'STATIC',
    });
    expect(events.filter(({ type }) => type !== ProviderEvents.ConfigurationChanged)).toHaveLength(1);
    await OpenFeature.clearProviders();
    await node.stop();
  }, 120_000);

  it('is FATAL with a key that no node takes', async () => {
    const domain = domainOf();
    const client = OpenFeature.getClient(domain);
    const events = recorded(client);
    const key = generateCredential('srv').token;
    const guidon = createClient({
      url: platform.url,
      key,
      trustRoot: platform.feed.trustRoot,
      logger: { warn: () => undefined },
    });
    const provider = new GuidonProvider(guidon, { readySeconds: 1 });
    await expect(OpenFeature.setProviderAndWait(domain, provider)).rejects.toThrow();
    expect(client.providerStatus).toBe(ProviderStatus.FATAL);
    expect(events.map(({ type }) => type)).toEqual([ProviderEvents.Error]);
    expect(await client.getStringDetails('string', 'default')).toMatchObject({
      value: 'default',
      errorCode: 'PROVIDER_FATAL',
    });
  });

  it('is in ERROR while there is no node, READY when one comes, STALE when it goes, READY when it is back', async () => {
    const port = await freePort();
    const domain = domainOf();
    const client = OpenFeature.getClient(domain);
    const events = recorded(client);
    const guidon = createClient({
      url: `http://127.0.0.1:${port}`,
      key: platform.srv,
      trustRoot: platform.feed.trustRoot,
      staleAfterSeconds: 10,
      pollSeconds: 5,
      logger: { warn: () => undefined },
    });
    const provider = new GuidonProvider(guidon, { readySeconds: 0.2 });
    await expect(OpenFeature.setProviderAndWait(domain, provider)).rejects.toThrow();
    expect(client.providerStatus).toBe(ProviderStatus.ERROR);
    expect(await client.getStringDetails('string', 'default')).toMatchObject({ value: 'default', reason: 'ERROR' });
    const node = await startNode(platform.feed, { port });
    await until('READY', () => client.providerStatus === ProviderStatus.READY, 60_000);
    expect(await client.getStringValue('string', 'default', user)).toBe('shown');
    await node.stop();
    await until('STALE', () => client.providerStatus === ProviderStatus.STALE, 60_000);
    expect(await client.getStringDetails('string', 'default', user)).toMatchObject({ value: 'shown', reason: 'STALE' });
    const again = await startNode(platform.feed, { port, directory: node.directory });
    await until('READY again', () => client.providerStatus === ProviderStatus.READY, 60_000);
    const told = events.map(({ type }) => type).filter((type) => type !== ProviderEvents.ConfigurationChanged);
    expect(told).toEqual([ProviderEvents.Error, ProviderEvents.Ready, ProviderEvents.Stale, ProviderEvents.Ready]);
    await OpenFeature.clearProviders();
    await again.stop();
  }, 240_000);
});

/** Nobody listens there when this resolves. */
function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}
