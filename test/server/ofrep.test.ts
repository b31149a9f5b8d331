import { readdirSync, readFileSync } from 'node:fs';
import type { FlagDefinition } from '@guidon/engine';
import { InProcessChangeBus } from '@guidon/protocol';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { jsonTextOf } from '../support/json-text.js';
import { NodeClock } from '../support/node-clock.js';
import { RefetchReader } from '../support/refetch-reader.js';
import {
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';
import { type VectorFile, withNumbers } from '../support/vectors.js';

/** OFREP 0.3.0 over HTTP, with what real clients hold a server to (ecosystem 1.2). */
let clock: NodeClock;
let feed: SignedFeedServer;
let node: RunningNode;
let environment: FeedEnvironment;
let url = '';
const keys = { srv: '', rotated: '', web: '', other: '' };
const ORIGIN = 'https://shop.example.test';
const FLAG_SET = { flagSetId: 'prj-main/env-main', version: '1.1' };
const readers: RefetchReader[] = [];

beforeAll(async () => {
  clock = new NodeClock();
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  environment = feed.addEnvironment('main');
  await environment.publish([
    aFlag('greeting'),
    aFlag('shown', { clientSide: true }),
    aFlag('off', { on: false }),
    aFlag('ruled', {
      rules: [{ id: 'dutch', when: { attribute: 'country', op: 'in', values: ['NL'] }, serve: { variation: 'yes' } }],
    }),
    aFlag('split', { fallthrough: { rollout: { weights: [{ variation: 'yes', weight: 100_000 }] } } }),
    aFlag('future', { requires: ['from-the-future'] }),
    aFlag('json', {
      type: 'json',
      variations: [
        { key: 'no', value: { deep: [1, 2.5, null, 'é漢🌍'] } },
        { key: 'off', value: {} },
      ],
    }),
  ]);
  keys.srv = await environment.issueCredential('srv');
  keys.rotated = await environment.issueCredential('srv');
  keys.web = await environment.issueCredential('web', { allowedOrigins: [ORIGIN] });
  const other = feed.addEnvironment('other');
  await other.publish([aFlag('theirs')]);
  keys.other = await other.issueCredential('srv');
  node = await startNode(feed);
  url = node.server.url;
  await untilCurrent(node, environment);
  await untilCurrent(node, other);
  await untilAccepted(node, keys.other);
});

afterAll(async () => {
  clock.restore();
  for (const reader of readers) reader.close();
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  // What a test reads has a shape that it does not know beforehand; the assertions check it.
  readonly body: Readonly<Record<string, unknown>>;
}

async function post(
  path: string,
  body: string | Uint8Array<ArrayBuffer>,
  { key = keys.srv, headers = {} }: { key?: string | null; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await fetch(`${url}/ofrep/v1/evaluate/flags${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    body,
  });
  const text = await response.text();
  const decoded: unknown = text === '' ? {} : JSON.parse(text);
  return {
    status: response.status,
    headers: response.headers,
    text,
    body: Object.fromEntries(Object.entries(decoded ?? {})),
  };
}

const ofContext = (context: unknown): string => JSON.stringify({ context });
const USER = ofContext({ targetingKey: 'u1' });
const NO_USER = ofContext({});

describe('POST /ofrep/v1/evaluate/flags/{key}', () => {
  it.each([
    [
      'STATIC',
      '/greeting',
      USER,
      { key: 'greeting', value: 'no', variant: 'no', reason: 'STATIC', metadata: FLAG_SET },
    ],
    ['DISABLED serves the off variation', '/off', USER, { value: 'off', variant: 'off', reason: 'DISABLED' }],
    [
      'TARGETING_MATCH names its rule',
      '/ruled',
      ofContext({ targetingKey: 'u1', country: 'NL' }),
      { value: 'yes', variant: 'yes', reason: 'TARGETING_MATCH', metadata: { ...FLAG_SET, ruleId: 'dutch' } },
    ],
    ['DEFAULT is kept', '/ruled', USER, { value: 'no', variant: 'no', reason: 'DEFAULT' }],
    ['SPLIT', '/split', USER, { value: 'yes', variant: 'yes', reason: 'SPLIT' }],
    ['an object', '/json', USER, { value: { deep: [1, 2.5, null, 'é漢🌍'] }, variant: 'no' }],
    ['a percent-encoded key', '/%67reeting', USER, { key: 'greeting', value: 'no' }],
    ['a body without a context', '/greeting', ' {\n} ', { key: 'greeting', value: 'no' }],
    ['blanks around everything', '/ruled', ' { "context" : { "country" : "NL" } } \n', { value: 'yes' }],
  ])('answers %s', async (_, path, body, expected) => {
    const answer = await post(path, body);
    expect([answer.status, answer.body]).toEqual([200, expect.objectContaining(expected)]);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.headers.get('cache-control')).toBe('private, no-store');
    expect(answer.headers.get('x-guidon-revision')).toBe('1');
  });

  it.each([
    ['an unknown flag', '/nowhere', USER, 404, { key: 'nowhere', errorCode: 'FLAG_NOT_FOUND', code: 'not-found' }],
    ['a flag of another environment (I16)', '/theirs', USER, 404, { key: 'theirs', errorCode: 'FLAG_NOT_FOUND' }],
    ['a key that is no UTF-8', '/%ff', USER, 404, { key: '%ff', errorCode: 'FLAG_NOT_FOUND' }],
    ['a key with quotes', '/%22%5D%2C%22x', USER, 404, { key: '"],"x', errorCode: 'FLAG_NOT_FOUND' }],
    ['no targeting key', '/split', NO_USER, 400, { key: 'split', errorCode: 'TARGETING_KEY_MISSING' }],
    ['a flag that this node cannot read', '/future', USER, 400, { key: 'future', errorCode: 'PARSE_ERROR' }],
    ['a context that is a list', '/greeting', ofContext([]), 400, { key: 'greeting', errorCode: 'INVALID_CONTEXT' }],
    ['a context that is null', '/greeting', ofContext(null), 400, { key: 'greeting', errorCode: 'INVALID_CONTEXT' }],
    [
      'a context that is too deep',
      '/greeting',
      `{"context":{"a":${'{"b":'.repeat(30)}1${'}'.repeat(30)}}}`,
      400,
      { key: 'greeting', errorCode: 'INVALID_CONTEXT' },
    ],
    [
      'a context over 32 KiB',
      '/greeting',
      ofContext({ a: 'x'.repeat(33_000) }),
      400,
      { key: 'greeting', errorCode: 'INVALID_CONTEXT', code: 'limit-exceeded', status: 400 },
    ],
    ['no body', '/greeting', '', 400, { key: 'greeting', errorCode: 'PARSE_ERROR' }],
    ['no JSON', '/greeting', '{"context":', 400, { key: 'greeting', errorCode: 'PARSE_ERROR' }],
    ['JSON that goes on', '/greeting', '{"context":{}}}', 400, { key: 'greeting', errorCode: 'PARSE_ERROR' }],
    ['an object that ends early', '/greeting', '{"context":{}', 400, { key: 'greeting', errorCode: 'PARSE_ERROR' }],
    ['a list', '/greeting', '[]', 400, { key: 'greeting', errorCode: 'PARSE_ERROR' }],
    [
      'ill-formed UTF-8',
      '/greeting',
      Uint8Array.of(0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d),
      400,
      { key: 'greeting' },
    ],
    ['a context twice', '/greeting', '{"context":{},"context":{}}', 400, { errorCode: 'PARSE_ERROR' }],
    [
      'a context twice, once spelled otherwise',
      '/greeting',
      '{"context":{},"\\u0063ontext":{}}',
      400,
      { key: 'greeting' },
    ],
    ['another flag in the body', '/greeting', '{"flags":["ruled"],"context":{}}', 400, { errorCode: 'PARSE_ERROR' }],
    [
      'our short form',
      '/greeting',
      '{"flag_key":"ruled","user_id":"u","context":{}}',
      400,
      { errorCode: 'PARSE_ERROR' },
    ],
    ['a minRevision', '/greeting', '{"context":{},"minRevision":99}', 400, { errorCode: 'PARSE_ERROR' }],
    ['a query', '/greeting?debug=1', USER, 400, { key: 'greeting', errorCode: 'GENERAL', code: 'unknown-parameter' }],
  ])('refuses %s, as a failure of OFREP and as a problem document', async (_, path, body, status, expected) => {
    const answer = await post(path, body);
    expect([answer.status, answer.body]).toEqual([status, expect.objectContaining({ ...expected, status })]);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body.errorDetails).toBe(answer.body.detail);
    expect(answer.body.type).toBe(`/problems/${String(answer.body.code)}`);
  });

  it('takes either header, and refuses no key, a wrong one and a URL with one', async () => {
    const statusOf = async (path: string, key: string | null, headers: Record<string, string> = {}) =>
      (await post(path, USER, { key, headers })).status;
    expect(await statusOf('/greeting', null, { 'x-api-key': keys.srv })).toBe(200);
    expect(await statusOf('/greeting', null)).toBe(401);
    expect(await statusOf('/greeting', `${keys.srv}x`)).toBe(401);
    expect(await statusOf(`/greeting?api_key=${keys.srv}`, null)).toBe(400);
    expect(await statusOf('/greeting', keys.srv, { 'content-type': 'application/msgpack' })).toBe(415);
    expect(await statusOf('/greeting', keys.srv, { 'content-type': 'application/json; charset=utf-8' })).toBe(200);
    expect(await statusOf('/greeting', keys.srv, { accept: 'application/msgpack' })).toBe(200);
  });

  it('has a bound for bodies, and shows a client key only what is for clients', async () => {
    expect((await post('/greeting', ofContext({ a: 'x'.repeat(70_000) }))).status).toBe(413);
    expect((await post('/greeting', USER, { key: keys.web })).body).toMatchObject({ errorCode: 'FLAG_NOT_FOUND' });
    expect((await post('/shown', USER, { key: keys.web })).body).toMatchObject({ value: 'no' });
  });
});

describe('POST /ofrep/v1/evaluate/flags', () => {
  it('answers every flag that the key sees, failures in their place, and where to hear of changes', async () => {
    const { status, body, headers } = await post('', NO_USER);
    expect(status).toBe(200);
    const flags = body.flags as readonly Record<string, unknown>[];
    expect(flags.map(({ key }) => String(key)).sort((a, b) => (a < b ? -1 : 1))).toEqual([
      'future',
      'greeting',
      'json',
      'off',
      'ruled',
      'shown',
      'split',
    ]);
    expect(flags.find(({ key }) => key === 'split')).toEqual({
      key: 'split',
      errorCode: 'TARGETING_KEY_MISSING',
      errorDetails: expect.any(String),
      metadata: FLAG_SET,
    });
    expect(body.metadata).toEqual(FLAG_SET);
    expect(body.eventStreams).toEqual([
      {
        type: 'sse',
        endpoint: { requestUri: expect.stringMatching(/^\/ofrep\/v1\/stream\?streamToken=r\.[^&]+&since=1\.1$/) },
        inactivityDelaySec: 120,
      },
    ]);
    expect(headers.get('etag')).toMatch(/^"[A-Za-z0-9_-]{43}"$/);
    expect((await post('', USER, { key: keys.web })).body.flags).toHaveLength(1);
  });

  it.each([
    ['no JSON', '', '{', 400, 'PARSE_ERROR'],
    ['a context that is a text', '', '{"context":"x"}', 400, 'INVALID_CONTEXT'],
    ['some flags', '', '{"flags":["greeting"],"context":{}}', 400, 'PARSE_ERROR'],
    ['an etag that is none of ours', '?flagConfigEtag=abc', NO_USER, 400, 'PARSE_ERROR'],
    ['an unknown parameter', '?flagConfig=1.1', NO_USER, 400, 'GENERAL'],
    ['a parameter twice', '?flagConfigEtag=1.1&flagConfigEtag=1.1', NO_USER, 400, 'PARSE_ERROR'],
  ])('refuses %s', async (_, query, body, status, errorCode) => {
    const answer = await post(query, body);
    expect([answer.status, answer.body]).toEqual([status, expect.objectContaining({ errorCode, status })]);
    expect(answer.body).not.toHaveProperty('key');
    expect(answer.headers.get('etag')).toBeNull();
  });

  it('answers 304 until a value for this context changes; another context or key has another ETag', async () => {
    const first = await post('', USER);
    const etag = first.headers.get('etag') ?? '';
    const again = await post('', USER, { headers: { 'if-none-match': etag } });
    expect([again.status, again.text, again.headers.get('etag')]).toEqual([304, '', etag]);
    const weak = await post('', USER, { headers: { 'if-none-match': `"x", W/${etag}` } });
    expect(weak.status).toBe(304);
    const others = [
      await post('', NO_USER, { headers: { 'if-none-match': etag } }),
      await post('', USER, { key: keys.web, headers: { 'if-none-match': etag } }),
      await post('', USER, { key: keys.other, headers: { 'if-none-match': etag } }),
      // Its values are the same, yet the stream of the first key ends with that key.
      await post('', USER, { key: keys.rotated, headers: { 'if-none-match': etag } }),
    ];
    expect(others.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const own = feed.addEnvironment('etag');
    const key = await own.issueCredential('srv');
    await own.publish([aFlag('ruled'), aFlag('plain')]);
    await untilCurrent(node, own);
    await untilAccepted(node, key);
    const before = (await post('', USER, { key })).headers.get('etag') ?? '';
    const rules: FlagDefinition['rules'] = [
      { id: 'dutch', when: { attribute: 'country', op: 'in', values: ['NL'] }, serve: { variation: 'yes' } },
    ];
    // The reason stays as well: a rule that does not match makes STATIC a DEFAULT, so both revisions have one.
    await own.publish([aFlag('ruled', { rules })]);
    await untilCurrent(node, own);
    const ruled = (await post('', USER, { key })).headers.get('etag') ?? '';
    await own.publish([
      aFlag('ruled', { rules: [...rules, { id: 'more', when: { any: [] }, serve: { variation: 'yes' } }] }),
    ]);
    await untilCurrent(node, own);
    expect(ruled).not.toBe(before);
    const irrelevant = await post('', USER, { key, headers: { 'if-none-match': ruled } });
    expect(irrelevant.status).toBe(304);
    await own.publish([aFlag('plain', { fallthrough: { variation: 'yes' } })]);
    await untilCurrent(node, own);
    const changed = await post('', USER, { key, headers: { 'if-none-match': ruled } });
    expect([changed.status, changed.body.metadata]).toEqual([200, { flagSetId: 'prj-etag/env-etag', version: '1.4' }]);
  });

  it('keeps a refetch waiting for the configuration it was told of, and never answers with an older one', async () => {
    const lagging = feed.addEnvironment('lagging');
    const key = await lagging.issueCredential('srv');
    await lagging.publish([aFlag('plain')]);
    await untilCurrent(node, lagging);
    await untilAccepted(node, key);
    expect((await post('?flagConfigEtag=1.1&flagConfigLastModified=1700000000', USER, { key })).status).toBe(200);
    const waiting = post('?flagConfigEtag=1.2', USER, { key });
    await lagging.publish([aFlag('plain', { fallthrough: { variation: 'yes' } })]);
    const reached = await waiting;
    expect([reached.status, reached.body]).toMatchObject([
      200,
      { flags: [{ value: 'yes', metadata: { version: '1.2' } }] },
    ]);
    const never = await post('?flagConfigEtag=1.99', USER, { key });
    expect([never.status, never.headers.get('retry-after')]).toEqual([503, '1']);
    expect((await post('?flagConfigEtag=2.1', USER, { key })).status).toBe(503);
  });

  it('says in CORS headers what a page of an allowed origin may send and read', async () => {
    const preflight = await fetch(`${url}/ofrep/v1/evaluate/flags`, {
      method: 'OPTIONS',
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST' },
    });
    expect(preflight.status).toBe(204);
    const listOf = (headers: Headers, name: string) => (headers.get(name) ?? '').toLowerCase().split(', ');
    expect(listOf(preflight.headers, 'access-control-allow-methods')).toEqual(
      expect.arrayContaining(['post', 'options']),
    );
    const sent = ['content-type', 'authorization', 'x-api-key', 'if-none-match', 'traceparent', 'tracestate'];
    expect(listOf(preflight.headers, 'access-control-allow-headers')).toEqual(expect.arrayContaining(sent));
    expect(preflight.headers.get('access-control-max-age')).toBe('7200');
    const { headers } = await post('', USER, { key: keys.web, headers: { origin: ORIGIN } });
    expect(headers.get('access-control-allow-origin')).toBe(ORIGIN);
    const read = ['etag', 'retry-after', 'ratelimit', 'ratelimit-policy'];
    expect(listOf(headers, 'access-control-expose-headers')).toEqual(expect.arrayContaining(read));
    const one = await fetch(`${url}/ofrep/v1/evaluate/flags/shown`, { method: 'OPTIONS', headers: { origin: ORIGIN } });
    expect(one.status).toBe(204);
    const foreign = await post('', USER, { key: keys.web, headers: { origin: 'https://evil.example.test' } });
    expect([foreign.status, foreign.body.errorCode]).toEqual([403, 'GENERAL']);
  });
});

describe('GET /ofrep/v1/stream', () => {
  async function streamOf(key: string, headers: Record<string, string> = {}): Promise<string> {
    const { body } = await post('', USER, { key, headers });
    const [{ endpoint }] = body.eventStreams as [{ endpoint: { requestUri: string } }];
    return endpoint.requestUri;
  }
  async function open(path: string, headers: Record<string, string> = {}): Promise<RefetchReader> {
    const reader = await RefetchReader.open(url + path, headers);
    readers.push(reader);
    return reader;
  }

  it('tells the holder of a token of each change with what to ask for, and resumes', async () => {
    const own = feed.addEnvironment('stream');
    const key = await own.issueCredential('web', { allowedOrigins: [ORIGIN] });
    await own.publish([aFlag('plain', { clientSide: true })]);
    await untilCurrent(node, own);
    await untilAccepted(node, key);
    const path = await streamOf(key);
    const reader = await open(path, { origin: ORIGIN });
    expect([reader.status, reader.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
    expect(reader.headers.get('access-control-allow-origin')).toBe(ORIGIN);
    await until('the stream begins', () => reader.text.startsWith('retry: 2000\n\n'));
    expect(reader.events).toEqual([]);
    await own.publish([aFlag('plain', { clientSide: true, on: false })]);
    await until('an event', () => reader.events.length === 1);
    expect(reader.events).toEqual([{ id: '1.2', data: { type: 'refetchEvaluation', etag: '1.2' } }]);
    expect(reader.text).not.toContain('event:');
    // Opened later than the change, and by the node's key: nothing is lost in between.
    const late = await open(path);
    await until('the change is told', () => late.events.length === 1);
    const resumed = await open(path, { 'last-event-id': '1.2' });
    const bare = await open('/ofrep/v1/stream', { authorization: `Bearer ${key}` });
    await until('who says nothing is told to ask', () => bare.events.length === 1);
    await own.publish([aFlag('plain', { clientSide: true })]);
    await until('both hear of the next one', () => resumed.events.length === 1 && late.events.length === 2);
    expect(resumed.events[0]?.id).toBe('1.3');
    await own.revoke(key);
    await until('a revoked key has no streams', () => late.hasEnded && resumed.hasEnded && bare.hasEnded);
    expect((await open(path)).status).toBe(401);
  });

  it('is told apart by use, environment and origin', async () => {
    const path = await streamOf(keys.web);
    const token = new URL(path, url).searchParams.get('streamToken') ?? '';
    const statusOf = async (target: string, headers?: Record<string, string>) => (await open(target, headers)).status;
    expect(await statusOf(path, { origin: 'https://evil.example.test' })).toBe(403);
    expect(await statusOf(path.replace('streamToken=r', 'streamToken=s'))).toBe(401);
    expect(await statusOf(`/v1/stream/sse?streamToken=${token}`)).toBe(401);
    expect(await statusOf(`/ofrep/v1/stream?streamToken=${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`)).toBe(
      401,
    );
    expect(await statusOf('/ofrep/v1/stream')).toBe(401);
    const server = await streamOf(keys.srv);
    expect(await statusOf(server)).toBe(200);
    expect(await statusOf(server, { origin: ORIGIN })).toBe(403);
    const serverToken = new URL(server, url).searchParams.get('streamToken') ?? '';
    // What may hear of changes may not read definitions with it.
    expect(await statusOf(`/v1/stream/sse?streamToken=${serverToken}`)).toBe(401);
    expect(await statusOf(`/v1/stream/sse?streamToken=${serverToken.replace(/^r/, 's')}`)).toBe(401);
  });

  it('tells of an instant at which values change without a revision, and ends when its node drains', async () => {
    const own = feed.addEnvironment('instant');
    const key = await own.issueCredential('srv');
    await own.publish([aFlag('timed')]);
    const draining = await startNode(feed);
    const before = url;
    url = draining.server.url;
    try {
      await untilAccepted(draining, key);
      // On a slow machine the stream may open after the first of them.
      const opensAt = Date.now() + 3_000;
      const rules = [0, 10_000, 40_000].map((laterMs) => ({
        id: `after-${laterMs}`,
        when: { attribute: '@now', op: 'after', values: [new Date(opensAt + laterMs).toISOString()] } as const,
        serve: { variation: 'yes' },
      }));
      await own.publish([aFlag('timed', { rules })]);
      await untilCurrent(draining, own);
      const reader = await open(await streamOf(key));
      await until('an instant is told', () => reader.events.length === 1, 60_000);
      expect(Date.now()).toBeGreaterThanOrEqual(opensAt);
      expect(reader.events[0]).toEqual({ id: '1.2', data: { type: 'refetchEvaluation', etag: '1.2' } });
      expect((await post('?flagConfigEtag=1.2', USER, { key })).body).toMatchObject({ flags: [{ value: 'yes' }] });
      await draining.stop();
      await until('the stream has ended', () => reader.hasEnded);
      expect(reader.text).toMatch(/retry: \d+\n\n$/);
    } finally {
      url = before;
    }
  }, 120_000);

  it('spreads a change over two seconds: not all of many are told at once', async () => {
    const own = feed.addEnvironment('spread');
    const key = await own.issueCredential('srv');
    await own.publish([aFlag('plain')]);
    await untilCurrent(node, own);
    await untilAccepted(node, key);
    const path = await streamOf(key);
    const many = await Promise.all(Array.from({ length: 40 }, () => open(path)));
    await until('all are open', () => many.every(({ text }) => text !== ''));
    await own.publish([aFlag('plain', { on: false })]);
    await own.publish([aFlag('plain', { on: true })]);
    await until('all are told', () => many.every(({ events }) => events.length > 0));
    const at = many.map(({ firstEventMs }) => firstEventMs).sort((a, b) => a - b);
    const [first = 0, last = 0] = [at[0], at.at(-1)];
    // Forty draws from 2 s lie within 0.5 s of each other once in 10^20.
    expect(last - first).toBeGreaterThan(500);
    expect(many.every(({ events }) => events.length <= 2 && events.at(-1)?.id === '1.3')).toBe(true);
  });
});

describe('the shared vectors over OFREP', () => {
  const folder = new URL('../vectors/', import.meta.url);
  const files = readdirSync(folder).filter((name) => name.endsWith('.json'));

  it.each(files)('%s', async (name) => {
    const { flags, segments, segmentKeys, cases }: VectorFile = JSON.parse(readFileSync(new URL(name, folder), 'utf8'));
    const own = feed.addEnvironment(`v-${name.replace('.json', '')}`);
    const tokens = { srv: await own.issueCredential('srv'), web: await own.issueCredential('web') };
    await own.publish([...flags, ...segments, ...segmentKeys]);
    await untilCurrent(node, own);
    await untilAccepted(node, tokens.web);
    for (const { name: title, flag, context, now = 0, expected, clientSideOnly = false } of cases) {
      const body = jsonTextOf({ context: withNumbers(context) });
      // JSON says no NaN, and a path no empty or endless key.
      if (body === undefined || flag === '' || flag.length > 500) continue;
      const key = clientSideOnly ? tokens.web : tokens.srv;
      const answer = await clock.during(now, () => post(`/${encodeURIComponent(flag)}`, body, { key }));
      expect(resultOf(answer), `${name}: ${title}`).toEqual(expected);
    }
  });

  function resultOf({ status, body }: Answer): object {
    if (status !== 200) return { flag: body.key, reason: 'ERROR', errorCode: body.errorCode };
    const { key, value, reason, variant } = body;
    const { flagSetId, version, ...rest } = body.metadata as Record<string, unknown>;
    expect([flagSetId, version]).toEqual([expect.any(String), '1.1']);
    return { flag: key, value, variation: variant, reason, ...rest };
  }
});
