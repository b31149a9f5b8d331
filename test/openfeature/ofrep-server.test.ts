import { OFREPProvider } from '@openfeature/ofrep-provider';
import { type Client, type EvaluationContext, type JsonValue, OpenFeature } from '@openfeature/server-sdk';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { OpenFeatureNode } from '../support/openfeature-node.js';

/** The published `@openfeature/ofrep-provider` for servers against a real node. */
let platform: OpenFeatureNode;

beforeAll(async () => {
  platform = await OpenFeatureNode.start();
});
afterAll(async () => {
  await OpenFeature.close();
  await platform.stop();
});

let clientCount = 0;
async function clientOf(headers: [string, string][]): Promise<Client> {
  clientCount += 1;
  const domain = `ofrep-${clientCount}`;
  await OpenFeature.setProviderAndWait(domain, new OFREPProvider({ baseUrl: platform.url, headers }));
  return OpenFeature.getClient(domain);
}

const user: EvaluationContext = { targetingKey: 'u1', since: new Date('2026-01-01T00:00:00Z') };
const metadata = { flagSetId: 'prj-main/env-main', version: '1.1' };

describe('the OFREP provider for servers', () => {
  it.each([
    ['a bearer token', (): [string, string][] => [['Authorization', `Bearer ${platform.srv}`]]],
    ['an API key', (): [string, string][] => [['X-API-Key', platform.srv]]],
  ])('evaluates every type with %s', async (_, headers) => {
    const client = await clientOf(headers());
    const served = { variant: 'on', reason: 'STATIC', flagMetadata: metadata };
    expect(await client.getBooleanDetails('boolean', false, user)).toMatchObject({ ...served, value: true });
    expect(await client.getStringDetails('string', 'default', user)).toMatchObject({ ...served, value: 'shown' });
    expect(await client.getNumberDetails('number', 7, user)).toMatchObject({ ...served, value: 2.5 });
    const object: JsonValue = { deep: [1, { é: '漢🌍' }] };
    expect(await client.getObjectDetails('object', {}, user)).toMatchObject({ ...served, value: object });
  });

  it.each([
    ['disabled', user, { value: 'hidden', variant: 'off', reason: 'DISABLED' }],
    ['ruled', user, { value: 'other', variant: 'on', reason: 'DEFAULT' }],
    [
      'ruled',
      { ...user, country: 'NL' },
      { value: 'off', variant: 'off', reason: 'TARGETING_MATCH', flagMetadata: { ...metadata, ruleId: 'dutch' } },
    ],
    ['split', user, { value: 'shown', reason: 'SPLIT' }],
    ['split', {}, { value: 'default', reason: 'ERROR', errorCode: 'TARGETING_KEY_MISSING' }],
    ['future', user, { value: 'default', reason: 'ERROR', errorCode: 'PARSE_ERROR' }],
    ['nowhere', user, { value: 'default', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' }],
    ['number', user, { value: 'default', reason: 'ERROR', errorCode: 'TYPE_MISMATCH' }],
    ['string', { text: 'x'.repeat(40_000) }, { value: 'default', reason: 'ERROR', errorCode: 'INVALID_CONTEXT' }],
  ] as const)('%s with %o', async (key, context, expected) => {
    const client = await clientOf([['Authorization', `Bearer ${platform.srv}`]]);
    expect(await client.getStringDetails(key, 'default', context)).toMatchObject(expected);
  });

  it('gives the default to a key that is not in force, and says why', async () => {
    const client = await clientOf([['Authorization', 'Bearer nobody']]);
    const details = await client.getStringDetails('string', 'default', user);
    expect(details).toMatchObject({ value: 'default', reason: 'ERROR', errorCode: 'GENERAL' });
  });

  it('pauses for as long as Retry-After says when it is over a quota', async () => {
    const own = platform.feed.addEnvironment('limited');
    await own.publish([aFlag('string')]);
    const key = await own.issueCredential('srv', { quotas: { requestsPerSecond: 1 } });
    const client = await clientOf([['Authorization', `Bearer ${key}`]]);
    const messages: string[] = [];
    for (let count = 0; count < 400 && !messages.some((message) => message.includes('paused')); count += 1) {
      const { errorMessage = '' } = await client.getStringDetails('string', 'default', user);
      messages.push(errorMessage);
      if (errorMessage === '' || errorMessage.includes('unauthorized')) await new Promise((go) => setTimeout(go, 20));
    }
    // The second try does not reach the node: the header was an integer that the client understood.
    expect(messages.at(-1)).toMatch(/paused due to TooManyRequests until 20/);
  });
});
