import { connect } from 'node:net';
import { STREAM_PROTOCOLS, STREAM_TOKEN_PROTOCOL_PREFIX } from '@guidon/protocol/live-updates';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { sendJson } from '../support/http.js';
import { until } from '../support/running-node.js';
import { StreamClient, type StreamClientOptions } from '../support/stream-client.js';
import { StreamedPlatform, type StreamedTenant, WEB_ORIGIN } from '../support/streamed-platform.js';

/** `GET /v1/stream` through a real node and control plane, mode by mode (server/stream/stream.ts), wire.md "Live updates". */
let platform: StreamedPlatform;
let a: StreamedTenant;
let b: StreamedTenant;
const clients: StreamClient[] = [];

beforeAll(async () => {
  platform = await StreamedPlatform.start();
  a = await platform.addTenant('canary-a', ['gate', 'other', 'third']);
  b = await platform.addTenant('canary-b');
});
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
});
afterAll(() => platform.close());

function open(options: StreamClientOptions): StreamClient {
  const client = new StreamClient(platform.server.url, options);
  clients.push(client);
  return client;
}

const areOn = new Set<StreamedTenant>();
/** One more revision of `tenant`, in which `gate` has another value. */
function toggle(tenant: StreamedTenant): Promise<number> {
  if (!areOn.delete(tenant)) areOn.add(tenant);
  return platform.change(tenant, 'gate', { on: areOn.has(tenant) });
}

describe.each(['msgpack', 'json'] as const)('a %s stream of a server key', (format) => {
  test('gets everything, then what changed, and has what the control plane has', async () => {
    const client = open({ key: a.srv, format });
    await client.untilAt(await platform.revision(a.environment));
    expect(client.frames.map(({ type }) => type)).toEqual(['put']);
    await client.untilAt(await toggle(a));
    await client.untilAt(
      await platform.addFlag(a, 'canary-a', `new-${format}`).then(() => platform.revision(a.environment)),
    );
    expect(client.frames.map(({ type }) => type)).toEqual(['put', 'patch', 'patch']);
    expect(client.definitions.has(`flag/new-${format}`)).toBe(true);
    expect(client.failure).toBeUndefined();
  });

  test('resumes: a patch from what it has, nothing when it has all, everything when that is not known', async () => {
    const first = open({ key: a.srv, format });
    await first.untilAt(await platform.revision(a.environment));
    const { at: since } = first;
    if (since === undefined) throw new Error('the client has nothing');
    const [same, epochBefore] = [open({ key: a.srv, format, hello: { since } }), { ...since, epoch: since.epoch - 1 }];
    await platform.get('/v1/config', a.srv);
    await first.untilAt(await toggle(a));
    await same.untilAt((since.revision ?? 0) + 1);
    expect(same.frames.map(({ type }) => type)).toEqual(['patch']);
    const later = open({ key: a.srv, format, hello: { since } });
    await later.untilAt(since.revision + 1);
    expect(later.frames.map(({ type }) => type)).toEqual(['patch']);
    const stranger = open({ key: a.srv, format, hello: { since: epochBefore } });
    await stranger.untilAt(since.revision + 1);
    expect(stranger.frames.map(({ type }) => type)).toEqual(['put']);
  });
});

describe('a stream of a client key', () => {
  const web = (options: Partial<StreamClientOptions> = {}) =>
    open({ key: a.web, origin: WEB_ORIGIN, hello: { context: { targetingKey: 'u1', plan: 'free' } }, ...options });

  test.each(['msgpack', 'json'] as const)(
    'gets values for its context in %s, then those that changed',
    async (format) => {
      await platform.change(a, 'gate', { on: false });
      const client = web({ format });
      await client.untilValue('gate', 'canary-a-gate-off');
      expect([...client.values.keys()]).toContain('other');
      await platform.change(a, 'gate', { on: true });
      await client.untilValue('gate', 'canary-a-gate-on');
      const [put, patch] = client.frames;
      expect([put?.type, patch?.type]).toEqual(['put', 'patch']);
      expect(patch).toMatchObject({
        values: { results: [{ flag: 'gate', variation: 'on', reason: 'STATIC' }], removed: [] },
      });
      expect(client.failure).toBeUndefined();
    },
  );

  test('hears nothing of a change that is none for its context, and of each that is', async () => {
    const rule = (plan: string) => ({
      on: true,
      rules: [{ id: 'r', when: { attribute: 'plan', op: 'in', values: [plan] }, serve: { variation: 'on' } }],
      fallthrough: { variation: 'off' },
    });
    await platform.change(a, 'third', rule('none'));
    const [free, pro] = [web(), web({ hello: { context: { targetingKey: 'u2', plan: 'pro' } } })];
    await free.untilValue('third', 'canary-a-third-off');
    await pro.untilValue('third', 'canary-a-third-off');
    await platform.change(a, 'third', rule('pro'));
    await pro.untilValue('third', 'canary-a-third-on');
    await platform.change(a, 'third', rule('free'));
    await free.untilValue('third', 'canary-a-third-on');
    await pro.untilValue('third', 'canary-a-third-off');
    expect([free.frames.length, pro.frames.length]).toEqual([2, 3]);
  });

  test('is evaluated again at the instants of @now', async () => {
    const at = new Date(Date.now() + 1_500).toISOString();
    await platform.change(a, 'other', {
      on: true,
      rules: [{ id: 'late', when: { attribute: '@now', op: 'after', values: [at] }, serve: { variation: 'on' } }],
      fallthrough: { variation: 'off' },
    });
    const client = web();
    await client.untilValue('other', 'canary-a-other-off');
    const revision = client.at?.revision;
    await client.untilValue('other', 'canary-a-other-on');
    expect(client.at?.revision).toBe(revision);
  });

  test('loses the values of flags that are gone', async () => {
    await platform.addFlag(a, 'canary-a', 'fleeting');
    const client = web();
    await client.untilValue('fleeting', 'canary-a-fleeting-off');
    const path = `${a.project}/flags/fleeting`;
    const read = await platform.plane.must('GET', path);
    await platform.plane.must('POST', `${path}/archive`, { headers: { 'if-match': String(read.headers.etag) } });
    await until('the flag is gone', () => !client.values.has('fleeting'));
    expect(client.failure).toBeUndefined();
  });

  test.each([
    ['a page of another origin', 'https://evil.example', 403],
    ['a page without an origin of its own', 'null', 403],
  ])('is refused before the upgrade to %s', async (_, origin, status) => {
    const client = web({ origin });
    await client.untilClosed();
    expect(client.refusedWith).toBe(status);
  });

  test.each([
    ['larger than 4 KiB', { targetingKey: 'x'.repeat(5_000) }, 1009],
    ['that is none', 'text', 4400],
    ['with an attribute of no type we have', { targetingKey: 'u', a: null, 'kind/': [] }, 0],
  ])('a context %s', async (_, context, code) => {
    const client = web({ hello: { context } });
    if (code === 0) await client.untilAt(1);
    else expect((await client.untilClosed()).code).toBe(code);
  });
});

describe('a stream ends', () => {
  test('with 4408 when nothing is said for 5 s', async () => {
    const client = open({ key: a.srv, hello: null });
    expect(await client.untilClosed()).toEqual({ code: 4408, reason: 'no-hello' });
    expect(client.messages.map(({ type }) => type)).toEqual(['bye']);
  });

  test.each([
    ['no key', {}],
    ['a key that is none', { key: 'gdn_srv_x' }],
    [
      'a token that is none',
      { protocols: [STREAM_PROTOCOLS.json, `${STREAM_TOKEN_PROTOCOL_PREFIX}x`], format: 'json' as const },
    ],
  ])('with 4401 at once for %s', async (_, options) => {
    const client = open(options);
    expect((await client.untilClosed()).code).toBe(4401);
    expect(client.messages).toMatchObject([{ type: 'bye', reason: 'credential' }]);
  });

  test('with 4401 within a second of its key being revoked, and with 4401 when the key expires', async () => {
    const notAfter = Date.now() + 4_000;
    const made = await platform.plane.must('POST', `${b.environment}/credentials`, {
      body: { kind: 'srv', name: 'short', notAfter: notAfter },
    });
    const second = await platform.plane.must('POST', `${b.environment}/credentials`, {
      body: { kind: 'srv', name: 'x' },
    });
    for (const key of [made.body.token, second.body.token]) {
      await until('the key is taken', async () => (await platform.get('/v1/config', key)).status === 307);
    }
    const [client, stays, expiring] = [second.body.token, b.srv, made.body.token].map((key) => open({ key }));
    for (const one of [client, stays, expiring]) await one?.untilAt(1);
    await platform.revoke(b, second.body.token);
    const revokedAtMs = performance.now();
    expect((await client?.untilClosed())?.code).toBe(4401);
    expect(performance.now() - revokedAtMs).toBeLessThan(1_000);
    expect((await expiring?.untilClosed())?.code).toBe(4401);
    expect(Date.now()).toBeGreaterThanOrEqual(notAfter);
    expect(stays?.closed).toBeUndefined();
  });

  test('with 4409 when it is ahead of the node', async () => {
    const client = open({ key: a.srv, hello: { since: { epoch: 1, revision: 1_000_000 } } });
    expect((await client.untilClosed()).code).toBe(4409);
    expect(client.frames).toEqual([]);
  });

  test.each([
    ['a message of no type', {}],
    ['an unknown type', { type: 'subscribe' }],
    ['an unknown member', { type: 'hello', more: 1 }],
    ['a revision that is none', { type: 'hello', epoch: 1, revision: -1 }],
    ['half a position', { type: 'hello', revision: 1 }],
    ['a context of a server key', { type: 'hello', context: {} }],
    ['an ack of what was not sent', { type: 'ack', epoch: 1, revision: 9_999 }],
  ])('with 4400 after %s', async (_, message) => {
    const client = open({ key: a.srv, hello: null });
    await until('it is open', () => client.socket.readyState === 1);
    client.send(message);
    expect((await client.untilClosed()).code).toBe(4400);
  });

  test('with 4400 after a second hello, 1009 after too large a message, 4429 after too many', async () => {
    const opened = async () => {
      const client = open({ key: a.srv });
      await client.untilAt(1);
      return client;
    };
    const [twice, large, many, pinging] = [await opened(), await opened(), await opened(), await opened()];
    twice.send({ type: 'hello' });
    expect((await twice.untilClosed()).code).toBe(4400);
    large.socket.send(Buffer.alloc(65 * 1024));
    expect((await large.untilClosed()).code).toBe(1009);
    for (let count = 0; count < 150; count += 1) many.send({ type: 'ack', ...many.at });
    expect((await many.untilClosed()).code).toBe(4429);
    for (let count = 0; count < 150; count += 1) pinging.socket.ping();
    expect((await pinging.untilClosed()).code).toBe(4429);
  });

  test('never in a way that ends the process: resets at any time', async () => {
    const handshake = [
      'GET /v1/stream HTTP/1.1',
      'Host: h',
      `Authorization: Bearer ${a.srv}`,
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
      `Sec-WebSocket-Protocol: ${STREAM_PROTOCOLS.msgpack}`,
      '',
      '',
    ].join('\r\n');
    for (let count = 0; count < 50; count += 1) {
      const socket = connect(platform.server.port, '127.0.0.1');
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('connect', resolve));
      socket.write(handshake.slice(0, handshake.length - (count % 3)));
      if (count % 2 === 0) await new Promise((resolve) => setTimeout(resolve, count % 5));
      socket.resetAndDestroy();
    }
    await until(
      'no stream is left',
      async () => (await platform.metric('guidon_stream_connections{transport="websocket"}')) === 0,
    );
  });
});

describe('the handshake', () => {
  test.each([
    ['without our subprotocol', { key: 'srv', protocols: ['chat'] }, 400],
    ['of a page with a server key', { key: 'srv', origin: WEB_ORIGIN }, 403],
  ])('%s is refused', async (_, { key, ...options }, status) => {
    const client = open({ ...options, key: key === 'srv' ? a.srv : key });
    await client.untilClosed();
    expect(client.refusedWith).toBe(status);
  });

  test('of nobody: a plain GET is answered 426', async () => {
    const answer = await platform.get('/v1/stream', a.srv);
    expect([answer.status, answer.headers.get('upgrade')]).toEqual([426, 'websocket']);
  });
});

describe('two tenants', () => {
  test('with flags of the same keys: no stream of one hears a byte of the other (I16)', async () => {
    const keys: [string, string, string | undefined][] = [
      [a.srv, 'canary-b', undefined],
      [a.web, 'canary-b', WEB_ORIGIN],
      [b.srv, 'canary-a', undefined],
      [b.web, 'canary-a', WEB_ORIGIN],
    ];
    const streams = keys.map(([key, foreign, origin]) => ({
      foreign,
      client: open({ key, format: 'json', ...(origin === undefined ? {} : { origin }) }),
      heard: [] as string[],
    }));
    for (const { client, heard } of streams) client.socket.on('message', (data: Buffer) => heard.push(data.toString()));
    for (const { client } of streams) await client.untilAt(1);
    for (let count = 0; count < 5; count += 1) {
      const [revisionA, revisionB] = [await toggle(a), await toggle(b)];
      await streams[0]?.client.untilAt(revisionA);
      await streams[2]?.client.untilAt(revisionB);
    }
    for (const { foreign, heard } of streams) {
      expect(heard.length).toBeGreaterThan(1);
      expect(heard.join()).not.toContain(foreign);
    }
  });
});

describe('POST /v1/stream/token', () => {
  const mint = async (use: string, key = a.web) =>
    sendJson(`${platform.server.url}/v1/stream/token`, { key, body: { use }, headers: { origin: WEB_ORIGIN } });
  const withToken = (token: string, origin: string | undefined = WEB_ORIGIN) =>
    open({
      format: 'json',
      protocols: [STREAM_PROTOCOLS.json, STREAM_TOKEN_PROTOCOL_PREFIX + token],
      ...(origin === undefined ? {} : { origin }),
    });

  test('opens a stream for a page, again and again, and the token is not sent back', async () => {
    const { status, body } = await mint('websocket');
    expect([status, Number(body.expiresAt) - Date.now() > 3_500_000]).toEqual([200, true]);
    for (const client of [withToken(String(body.token)), withToken(String(body.token))]) {
      await client.untilAt(1);
      expect(client.socket.protocol).toBe(STREAM_PROTOCOLS.json);
    }
  });

  test('a token is for its use, its origin and its bytes alone', async () => {
    const [socket, events] = [String((await mint('websocket')).body.token), String((await mint('sse')).body.token)];
    expect((await withToken(events).untilClosed()).code).toBe(4401);
    const foreign = withToken(socket, 'https://evil.example');
    await foreign.untilClosed();
    expect(foreign.refusedWith).toBe(403);
    for (let index = 0; index < socket.length; index += 3) {
      const flipped = `${socket.slice(0, index)}${socket[index] === 'A' ? 'B' : 'A'}${socket.slice(index + 1)}`;
      const client = withToken(flipped);
      expect((await client.untilClosed()).code).toBe(4401);
    }
  });

  test('is for client keys, with one of its uses', async () => {
    expect((await mint('websocket', a.srv)).body.code).toBe('wrong-key-kind');
    expect(await mint('both')).toMatchObject({ status: 422, body: { errors: [{ pointer: '/use' }] } });
  });
});
