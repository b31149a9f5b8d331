import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

const ORIGIN = 'https://shop.example.test';
const DUTCH = [
  {
    id: 'dutch',
    when: { attribute: 'country', op: 'in', values: ['NL'] },
    serve: { variation: 'yes' },
  },
] as const;

let feed: SignedFeedServer;
let node: RunningNode;
let environment: FeedEnvironment;
const keys = { srv: '', web: '' };

beforeAll(async () => {
  feed = new SignedFeedServer();
  await feed.start();
  environment = feed.addEnvironment('main');
  await environment.publish([aFlag('hidden'), aFlag('shown', { clientSide: true, rules: DUTCH })]);
  keys.srv = await environment.issueCredential('srv');
  keys.web = await environment.issueCredential('web', { allowedOrigins: [ORIGIN] });
  node = await startNode(feed);
  await untilCurrent(node, environment);
  await untilAccepted(node, keys.web);
});

afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

function post(body: unknown, { key = keys.web, ...headers }: Record<string, string> = {}): Promise<Response> {
  return fetch(`${node.server.url}/v1/values`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${key}`, ...headers },
    body: JSON.stringify(body),
  });
}

const text = async (answer: Promise<Response>): Promise<string> => (await answer).text();

describe('POST /v1/values', () => {
  it('answers what clients may see, with its place in the order, also to a server', async () => {
    const answer = await post({ context: {} }, { origin: ORIGIN });
    expect([answer.status, await answer.json()]).toEqual([
      200,
      {
        epoch: 1,
        revision: 1,
        results: [{ flag: 'shown', value: 'no', variation: 'no', reason: 'DEFAULT' }],
      },
    ]);
    expect(answer.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(answer.headers.get('access-control-expose-headers')).toContain('ETag');
    expect(answer.headers.get('cache-control')).toBe('private, no-store');
    expect(await text(post({ context: {} }, { key: keys.srv }))).toBe(await text(post({ context: {} })));
    expect(await text(post({ context: {}, flags: ['hidden'] }, { key: keys.srv }))).toContain('FLAG_NOT_FOUND');
  });

  it('is 304 until a value is another for this context', async () => {
    const first = await post({ context: {} });
    const etag = first.headers.get('etag') ?? '';
    expect(etag).toMatch(/^"[A-Za-z0-9_-]{43}"$/);
    const asked = (context: object) => post({ context }, { 'if-none-match': etag });
    const again = await asked({});
    expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag]);
    expect((await asked({ country: 'NL' })).status).toBe(200);

    await environment.publish([aFlag('hidden', { on: false }), aFlag('shown', { clientSide: true, rules: DUTCH })]);
    await untilCurrent(node, environment);
    expect((await asked({})).status).toBe(304);
    await environment.publish([aFlag('hidden'), aFlag('shown', { clientSide: true, on: false })]);
    await untilCurrent(node, environment);
    const changed = await asked({});
    expect([changed.status, await changed.json()]).toMatchObject([200, { revision: 3, results: [{ value: 'off' }] }]);
    expect(changed.headers.get('etag')).not.toBe(etag);
  });

  it('refuses another origin, another media type, and what is no context', async () => {
    expect((await post({ context: {} }, { origin: 'https://other.example' })).status).toBe(403);
    expect((await post({ context: {} }, { 'content-type': 'application/msgpack' })).status).toBe(415);
    expect((await post({})).status).toBe(422);
    expect((await post({ context: {}, also: 1 })).status).toBe(422);
    expect((await post({ context: {} }, { key: 'nobody' })).status).toBe(401);
    const invalid = await post({ context: [] });
    expect(await invalid.json()).toMatchObject({ results: [{ flag: 'shown', errorCode: 'INVALID_CONTEXT' }] });
  });
});
