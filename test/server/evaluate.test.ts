import { InProcessChangeBus } from '@guidon/protocol';
import { generateCredential } from '@guidon/protocol/signed-config';
import { decode, encode } from '@msgpack/msgpack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { aFlag } from '../support/flag-sets.js';
import { sendJson, sendMsgpack } from '../support/http.js';
import {
  metricOf,
  type RunningNode,
  removeTemporaryDirectories,
  startNode,
  until,
  untilAccepted,
  untilCurrent,
} from '../support/running-node.js';
import { type FeedEnvironment, SignedFeedServer } from '../support/signed-feed-server.js';

let feed: SignedFeedServer;
let node: RunningNode;
let environment: FeedEnvironment;
let url = '';
const keys = { srv: '', web: '', webAny: '', explain: '', revoked: '', expired: '' };
const ORIGIN = 'https://shop.example.test';

beforeAll(async () => {
  feed = new SignedFeedServer();
  feed.bus = new InProcessChangeBus();
  await feed.start();
  environment = feed.addEnvironment('main');
  await environment.publish([
    aFlag('greeting'),
    aFlag('shown', { clientSide: true }),
    aFlag('ruled', {
      rules: [
        {
          id: 'dutch',
          when: { attribute: 'country', op: 'in', values: ['NL'] },
          serve: { variation: 'yes' },
        },
      ],
    }),
    aFlag('json', {
      type: 'json',
      variations: [
        { key: 'no', value: { deep: [1, 2.5, null, 'é漢🌍'] } },
        { key: 'off', value: {} },
      ],
    }),
  ]);
  keys.srv = await environment.issueCredential('srv');
  keys.web = await environment.issueCredential('web', { allowedOrigins: [ORIGIN] });
  keys.webAny = await environment.issueCredential('web', { allowedOrigins: ['*'] });
  keys.explain = await environment.issueCredential('srv', { permissions: ['explain'] });
  keys.revoked = await environment.issueCredential('srv', { revoked: true });
  keys.expired = await environment.issueCredential('srv', { notAfter: Date.now() - 1 });
  node = await startNode(feed);
  url = node.server.url;
  await untilCurrent(node, environment);
  await untilAccepted(node, keys.explain);
});

afterAll(async () => {
  await node.stop();
  await feed.stop();
  await removeTemporaryDirectories();
});

const context = { targetingKey: 'user-1' };
const SERVED = { flag: 'greeting', value: 'no', variation: 'no', reason: 'STATIC' };

describe('POST /v1/evaluate', () => {
  it.each([
    ['JSON', sendJson],
    ['msgpack', sendMsgpack],
  ])('answers %s in its own format: one, many, all, by rule, JSON values', async (_name, send) => {
    const one = await send(`${url}/v1/evaluate`, { key: keys.srv, body: { flags: 'greeting', context } });
    expect(one.status).toBe(200);
    expect(one.body).toEqual({ revision: 1, ...SERVED });
    const many = await send(`${url}/v1/evaluate`, {
      key: keys.srv,
      body: { flags: ['ruled', 'nowhere', 'json'], context: { ...context, country: 'NL' } },
    });
    expect(many.body).toEqual({
      revision: 1,
      results: [
        { flag: 'ruled', value: 'yes', variation: 'yes', reason: 'TARGETING_MATCH', ruleId: 'dutch' },
        { flag: 'nowhere', reason: 'ERROR', errorCode: 'FLAG_NOT_FOUND' },
        { flag: 'json', value: { deep: [1, 2.5, null, 'é漢🌍'] }, variation: 'no', reason: 'STATIC' },
      ],
    });
    const all = await send(`${url}/v1/evaluate`, { key: keys.srv, body: { context } });
    expect(all.body).toMatchObject({
      results: [{ flag: 'greeting' }, { flag: 'json' }, { flag: 'ruled' }, { flag: 'shown' }],
    });
  });

  it('takes the short form', async () => {
    const { body } = await sendJson(`${url}/v1/evaluate`, {
      key: keys.srv,
      body: { flag_key: 'greeting', user_id: 'user-1', context: {} },
    });
    expect(body).toEqual({ revision: 1, ...SERVED });
  });

  it('carries the revision, is not cacheable, and has a request id', async () => {
    const { headers } = await sendJson(`${url}/v1/evaluate`, { key: keys.srv, body: { flags: 'greeting', context } });
    expect(headers.get('x-guidon-revision')).toBe('1');
    expect(headers.get('cache-control')).toBe('private, no-store');
    expect(headers.get('x-request-id')).toMatch(/^req_/);
    expect(headers.get('x-config-age')).toBeNull();
  });

  it('answers in the format that Accept asks for', async () => {
    const answer = await fetch(`${url}/v1/evaluate`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${keys.srv}`,
        'content-type': 'application/json',
        accept: 'application/msgpack',
      },
      body: JSON.stringify({ flags: 'greeting', context }),
    });
    expect(answer.headers.get('content-type')).toBe('application/msgpack');
    expect(decode(new Uint8Array(await answer.arrayBuffer()))).toEqual({ revision: 1, ...SERVED });
  });

  it('shows a web credential only flags that are clientSide', async () => {
    const { body } = await sendJson(`${url}/v1/evaluate`, {
      key: keys.webAny,
      body: { flags: ['greeting', 'shown'], context },
    });
    expect(body).toMatchObject({
      results: [
        { flag: 'greeting', errorCode: 'FLAG_NOT_FOUND' },
        { flag: 'shown', value: 'no' },
      ],
    });
    const all = await sendJson(`${url}/v1/evaluate`, { key: keys.webAny, body: { context } });
    expect(all.body).toMatchObject({ results: [{ flag: 'shown' }] });
  });

  it.each([
    ['no body', '', 400, 'malformed-body'],
    ['no JSON', '{"flags":', 400, 'malformed-body'],
    ['ill-formed UTF-8', Uint8Array.of(0x22, 0xff, 0x22), 400, 'malformed-body'],
    ['a body that is no object', '[]', 422, 'validation-failed'],
    ['an unknown member (mass assignment)', '{"context":{},"tenantId":"x"}', 422, 'validation-failed'],
    ['no context', '{"flags":"greeting"}', 422, 'validation-failed'],
    ['flags of a wrong type', '{"flags":7,"context":{}}', 422, 'validation-failed'],
    ['brackets 20 000 deep', `{"context":{"a":${'['.repeat(20_000)}${']'.repeat(20_000)}}}`, 422, undefined],
    ['a context 50 deep', `{"context":{"a":${'{"b":'.repeat(49)}1${'}'.repeat(49)}}}`, 422, 'limit-exceeded'],
    [
      'a context of 10 000 attributes',
      `{"context":{${Array.from({ length: 10_000 }, (_, index) => `"${index}":1`).join()}}}`,
      413,
      'payload-too-large',
    ],
    [
      'a context of 513 attributes',
      `{"context":{${Array.from({ length: 513 }, (_, index) => `"a${index}":1`).join()}}}`,
      422,
      'limit-exceeded',
    ],
    ['a context over 32 KiB', `{"context":{"a":"${'x'.repeat(32_768)}"}}`, 422, 'limit-exceeded'],
  ])('refuses %s', async (_name, body, status, code) => {
    const answer = await fetch(`${url}/v1/evaluate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.srv}`, 'content-type': 'application/json' },
      body,
    });
    const problem: unknown = await answer.json();
    expect([400, 413, 422]).toContain(answer.status);
    if (code !== undefined) {
      expect(answer.status).toBe(status);
      expect(problem).toMatchObject({ code, status });
    }
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
  });

  it('answers 413 to a body over 64 KiB', async () => {
    const answer = await fetch(`${url}/v1/evaluate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.srv}`, 'content-type': 'application/json' },
      body: JSON.stringify({ context: { filler: 'x'.repeat(65_536) } }),
    });
    expect(answer.status).toBe(413);
    expect(await answer.json()).toMatchObject({ code: 'payload-too-large' });
  });

  it.each([
    ['an attribute named __proto__', '{"context":{"targetingKey":"u","__proto__":{"country":"NL"}},"flags":"ruled"}'],
    ['an attribute named constructor', '{"context":{"targetingKey":"u","constructor":"NL"},"flags":"ruled"}'],
  ])('%s is an attribute like any other', async (_name, body) => {
    const answer = await fetch(`${url}/v1/evaluate`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.srv}`, 'content-type': 'application/json' },
      body,
    });
    expect(await answer.json()).toMatchObject({ flag: 'ruled', value: 'no', reason: 'DEFAULT' });
  });
});

describe('POST /v1/evaluate/batch', () => {
  it.each([
    ['JSON', sendJson],
    ['msgpack', sendMsgpack],
  ])('answers in the order asked (%s)', async (_name, send) => {
    const pairs = await send(`${url}/v1/evaluate/batch`, {
      key: keys.srv,
      body: { requests: [{ flag: 'ruled', context }, { flag: 'ruled', context: { country: 'NL' } }, 7] },
    });
    expect(pairs.body).toMatchObject({
      revision: 1,
      results: [{ value: 'no' }, { value: 'yes' }, { flag: '', reason: 'ERROR', errorCode: 'PARSE_ERROR' }],
    });
    const grid = await send(`${url}/v1/evaluate/batch`, {
      key: keys.srv,
      body: { contexts: [context, { country: 'NL' }], flags: ['ruled', 'greeting'] },
    });
    expect(grid.body).toMatchObject({
      results: [
        { flag: 'ruled', value: 'no' },
        { flag: 'greeting' },
        { flag: 'ruled', value: 'yes' },
        { flag: 'greeting' },
      ],
    });
  });

  it('takes 10 000 evaluations and refuses one more', async () => {
    const requests = Array.from({ length: 10_000 }, () => ({ flag: 'greeting', context }));
    const most = await sendMsgpack(`${url}/v1/evaluate/batch`, { key: keys.srv, body: { requests } });
    expect(most.status).toBe(200);
    const over = await sendMsgpack(`${url}/v1/evaluate/batch`, {
      key: keys.srv,
      body: { requests: [...requests, requests[0]] },
    });
    expect(over.status).toBe(422);
    expect(over.body).toMatchObject({ code: 'limit-exceeded' });
  });
});

describe('minRevision', () => {
  it('below what serves changes nothing', async () => {
    const { status } = await sendJson(`${url}/v1/evaluate`, {
      key: keys.srv,
      body: { flags: 'greeting', context, minRevision: 1 },
    });
    expect(status).toBe(200);
  });

  it('above it waits for the revision', async () => {
    const other = feed.addEnvironment('waits');
    await other.publish([aFlag('greeting')]);
    const key = await other.issueCredential('srv');
    await untilCurrent(node, other);
    await untilAccepted(node, key);
    const waiting = sendMsgpack(`${url}/v1/evaluate`, { key, body: { flags: 'greeting', context, minRevision: 2 } });
    await other.publish([aFlag('greeting', { fallthrough: { variation: 'yes' } })]);
    const answer = await waiting;
    expect(answer.status).toBe(200);
    expect(answer.body).toMatchObject({ revision: 2, value: 'yes' });
    expect(answer.headers.get('x-guidon-revision')).toBe('2');
  });

  it('that does not come is 409 revision-behind', async () => {
    const answer = await sendJson(`${url}/v1/evaluate`, {
      key: keys.srv,
      body: { flags: 'greeting', context, minRevision: 9 },
    });
    expect(answer.status).toBe(409);
    expect(answer.body).toMatchObject({ code: 'revision-behind', currentRevision: 1 });
  });
});

describe('credentials (threat model 2.1)', () => {
  const body = { flags: 'greeting', context };

  it('none, malformed, wrong checksum, unknown, revoked and expired are one 401', async () => {
    const unknown = generateCredential('srv').token;
    const tokens = [
      undefined,
      'nonsense',
      `${keys.srv.slice(0, -1)}${keys.srv.endsWith('0') ? '1' : '0'}`,
      unknown,
      keys.revoked,
      keys.expired,
      generateCredential('node').token,
    ];
    const answers = await Promise.all(
      tokens.map((key) => sendJson(`${url}/v1/evaluate`, { ...(key === undefined ? {} : { key }), body })),
    );
    for (const { status, headers, body: problem } of answers) {
      expect(status).toBe(401);
      expect(headers.get('www-authenticate')).toBe('Bearer realm="guidon"');
      expect({ ...problem, instance: '' }).toEqual({ ...answers[0]?.body, instance: '' });
    }
  });

  it('X-API-Key is as good as Authorization', async () => {
    const { status } = await sendJson(`${url}/v1/evaluate`, { headers: { 'x-api-key': keys.srv }, body });
    expect(status).toBe(200);
  });

  it('a credential in the URL is refused and never logged (I24)', async () => {
    const { status, body: problem } = await sendJson(`${url}/v1/evaluate?api_key=${keys.srv}`, { body });
    expect(status).toBe(400);
    expect(problem).toMatchObject({ code: 'credential-in-url' });
    expect(JSON.stringify([problem, node.log])).not.toContain(keys.srv.slice(-20));
  });

  it('a revocation reaches the node and stays', async () => {
    const key = await environment.issueCredential('srv');
    await untilAccepted(node, key);
    await environment.revoke(key);
    await until('401', async () => (await sendJson(`${url}/v1/evaluate`, { key, body })).status === 401);
  });

  it('an environment without a snapshot is 503 not-ready, never an empty 200 (I13)', async () => {
    const empty = feed.addEnvironment('empty');
    const key = await empty.issueCredential('srv');
    await untilAccepted(node, key);
    const answer = await sendJson(`${url}/v1/evaluate`, { key, body: { context } });
    expect(answer.status).toBe(503);
    expect(answer.body).toMatchObject({ code: 'not-ready' });
    expect(answer.headers.get('retry-after')).toBe('1');
  });

  it('same names in two tenants: each sees its own (I16)', async () => {
    const theirs = feed.addEnvironment('theirs');
    await theirs.publish([
      aFlag('greeting', { variations: ['yes', 'no', 'off'].map((key) => ({ key, value: `canary-${key}` })) }),
    ]);
    const key = await theirs.issueCredential('srv');
    await untilCurrent(node, theirs);
    await untilAccepted(node, key);
    expect((await sendJson(`${url}/v1/evaluate`, { key, body })).body).toMatchObject({ value: 'canary-no' });
    expect((await sendJson(`${url}/v1/evaluate`, { key: keys.srv, body })).body).toMatchObject({ value: 'no' });
  });
});

describe('POST /v1/explain', () => {
  const body = { flag: 'ruled', context: { targetingKey: 'user-1', country: 'BE' } };

  it.each([
    ['JSON', sendJson],
    ['msgpack', sendMsgpack],
  ])('shows the steps (%s)', async (_name, send) => {
    const { status, body: answer } = await send(`${url}/v1/explain`, { key: keys.explain, body });
    expect(status).toBe(200);
    expect(answer).toMatchObject({
      revision: 1,
      explanation: {
        result: { flag: 'ruled', value: 'no', reason: 'DEFAULT' },
        flags: [{ flag: 'ruled', steps: [{ step: 'rule', ruleId: 'dutch', matched: false }, { step: 'fallthrough' }] }],
      },
    });
  });

  it.each([
    ['srv', 403, 'forbidden'],
    ['webAny', 403, 'wrong-key-kind'],
    ['revoked', 401, 'invalid-credentials'],
  ] as const)('refuses the key %s', async (name, status, code) => {
    const answer = await sendJson(`${url}/v1/explain`, { key: keys[name], body });
    expect(answer.status).toBe(status);
    expect(answer.body).toMatchObject({ code });
  });

  it.each([
    ['no object', '7', 422, ''],
    ['no flag', '{"context":{}}', 422, '/flag'],
    ['no context', '{"flag":"ruled"}', 422, '/context'],
    ['an unknown member', '{"flag":"ruled","context":{},"a/b":1}', 422, '/a~1b'],
    ['no JSON', '{', 400, undefined],
  ])('refuses %s', async (_name, text, status, pointer) => {
    const answer = await fetch(`${url}/v1/explain`, {
      method: 'POST',
      headers: { authorization: `Bearer ${keys.explain}`, 'content-type': 'application/json' },
      body: text,
    });
    expect(answer.status).toBe(status);
    if (pointer !== undefined)
      expect(await answer.json()).toMatchObject({ code: 'validation-failed', errors: [{ pointer }] });
  });

  it('takes every context that evaluating takes: names of prototypes, wide integers, timestamps', async () => {
    const hex =
      '82a4666c6167a86772656574696e67a7636f6e7465787483a95f5f70726f746f5f5fa178a1 6ecf7fffffffffffffff a174d6ff5c5f0000';
    const answer = await fetch(`${url}/v1/explain`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${keys.explain}`,
        'content-type': 'application/msgpack',
        accept: 'application/json',
      },
      body: Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex')),
    });
    expect([answer.status, await answer.json()]).toMatchObject([
      200,
      { explanation: { result: { flag: 'greeting' } } },
    ]);
  });

  it('refuses msgpack that a general decoder would misread (M16)', async () => {
    for (const bytes of [
      Uint8Array.of(0xc1),
      Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff),
      Uint8Array.of(0x81, 0xa1, 0x61),
    ]) {
      const answer = await fetch(`${url}/v1/explain`, {
        method: 'POST',
        headers: { authorization: `Bearer ${keys.explain}`, 'content-type': 'application/msgpack' },
        body: bytes,
      });
      expect(answer.status).toBe(400);
    }
  });

  it('explains what serves after a change', async () => {
    const changing = feed.addEnvironment('changing');
    await changing.publish([aFlag('greeting')]);
    const key = await changing.issueCredential('srv', { permissions: ['explain'] });
    await changing.publish([aFlag('greeting', { on: false })]);
    await untilCurrent(node, changing);
    await untilAccepted(node, key);
    const { body: answer } = await sendJson(`${url}/v1/explain`, { key, body: { flag: 'greeting', context } });
    expect(answer).toMatchObject({ revision: 2, explanation: { result: { reason: 'DISABLED' } } });
  });
});

describe('CORS', () => {
  const ask = (key: string, origin: string) =>
    sendJson(`${url}/v1/evaluate`, { key, headers: { origin }, body: { flags: 'shown', context } });

  it('a preflight names methods and headers, for any origin, without credentials', async () => {
    const answer = await fetch(`${url}/v1/evaluate`, {
      method: 'OPTIONS',
      headers: { origin: ORIGIN, 'access-control-request-method': 'POST' },
    });
    expect(answer.status).toBe(204);
    expect(answer.headers.get('access-control-allow-origin')).toBe('*');
    expect(answer.headers.get('access-control-allow-headers')).toContain('authorization');
    expect(answer.headers.get('access-control-max-age')).toBe('7200');
    expect(answer.headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('an allowed origin is named, with Vary', async () => {
    const { status, headers } = await ask(keys.web, ORIGIN);
    expect(status).toBe(200);
    expect(headers.get('access-control-allow-origin')).toBe(ORIGIN);
    expect(headers.get('vary')).toBe('Origin');
    expect(headers.get('access-control-expose-headers')).toContain('ETag, Retry-After');
  });

  it.each(['https://evil.example.test', 'null', `${ORIGIN}.evil.test`, 'nonsense'])(
    '%s is refused and not named',
    async (origin) => {
      const { status, headers, body } = await ask(keys.web, origin);
      expect(status).toBe(403);
      expect(body).toMatchObject({ code: 'forbidden' });
      expect(headers.get('access-control-allow-origin')).toBeNull();
    },
  );

  it('* allows every origin, without credentials', async () => {
    const { status, headers } = await ask(keys.webAny, 'https://anything.example.test');
    expect(status).toBe(200);
    expect(headers.get('access-control-allow-origin')).toBe('*');
    expect(headers.get('access-control-allow-credentials')).toBeNull();
  });

  it('a server key gets no CORS header', async () => {
    const { status, headers } = await ask(keys.srv, ORIGIN);
    expect(status).toBe(200);
    expect(headers.get('access-control-allow-origin')).toBeNull();
  });

  it('a browser can read why it was refused', async () => {
    const { status, headers } = await ask('nonsense', ORIGIN);
    expect(status).toBe(401);
    expect(headers.get('access-control-allow-origin')).toBe('*');
  });
});

describe('health and metrics', () => {
  it('has its own port, and none of it is on the data plane', async () => {
    expect((await fetch(`${node.server.metricsUrl}/livez`)).status).toBe(200);
    expect((await fetch(`${node.server.metricsUrl}/readyz`)).status).toBe(200);
    expect((await fetch(`${node.server.metricsUrl}/nowhere`)).status).toBe(404);
    for (const path of ['/livez', '/readyz', '/metrics']) expect((await fetch(url + path)).status).toBe(404);
  });

  it('counts what happened, with no flag or user in a label', async () => {
    const before = await metricOf(node, 'guidon_evaluations_total');
    await sendMsgpack(`${url}/v1/evaluate`, { key: keys.srv, body: { flags: ['greeting', 'ruled'], context } });
    expect(await metricOf(node, 'guidon_evaluations_total')).toBe(before + 2);
    const page = await (await fetch(`${node.server.metricsUrl}/metrics`)).text();
    expect(page).toContain('guidon_http_requests_total{route="/v1/evaluate",status="200"}');
    expect(page).toContain('guidon_snapshot_revision{environment="env-main"} 1');
    expect(page).toMatch(/guidon_http_request_duration_seconds_bucket\{le="\+Inf",route="\/v1\/evaluate"\} \d+/);
    expect(page).not.toContain('greeting');
    expect(page).not.toContain('user-1');
  });
});

describe('startServer()', () => {
  it('rejects when a port is taken', async () => {
    const port = Number(new URL(url).port);
    await expect(startNode(feed, { port })).rejects.toMatchObject({ code: 'conflict' });
    await expect(startNode(feed, { metricsPort: Number(new URL(node.server.metricsUrl).port) })).rejects.toMatchObject({
      code: 'conflict',
    });
  });

  it('the largest msgpack body of a batch passes through the wrapper', async () => {
    const requests = Array.from({ length: 100 }, () => ({
      flag: 'greeting',
      context: { targetingKey: 'u', filler: 'x'.repeat(30_000) },
    }));
    const body = encode({ requests });
    expect(body.length).toBeGreaterThan(2_900_000);
    const answer = await sendMsgpack(`${url}/v1/evaluate/batch`, { key: keys.srv, body: { requests } });
    expect(answer.status).toBe(200);
  });
});
