import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMsgpack } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { type RunningServer, startServer } from '@guidon/server';
import { createClient } from '@guidon/server-sdk';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';

/** Events from a client to what the admin API says of them: a real node and a real control plane, over HTTP. */

let plane: TestControlPlane;
let seed: Seed;
let server: RunningServer;
let directory: string;
let srv: string;
let web: string;
let count = 0;

function newId(): string {
  count += 1;
  return `event-${String(count).padStart(14, '0')}`;
}

const eventsUrl = (): string => `${server.url}/v1/events`;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  seed = await plane.seed();
  await plane.must('POST', `${seed.project}/flags`, { body: { ...booleanFlag('checkout'), clientSide: true } });
  const issue = async (body: unknown): Promise<string> =>
    String((await plane.must('POST', `${seed.dev.path}/credentials`, { body })).body.token);
  srv = await issue({ kind: 'srv', name: 'server' });
  web = await issue({ kind: 'web', name: 'page', allowedOrigins: ['https://shop.example'] });
  directory = mkdtempSync(join(tmpdir(), 'guidon-events-'));
  server = await startServer({
    dataDirectory: directory,
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: plane.running.url,
    nodeCredential: await plane.running.issueNodeCredential('node'),
    trustRoot: plane.running.trustRoot,
    logger: pino({ level: 'silent' }),
    pollIntervalMs: 100,
  });
  await until('the key is accepted', async () => (await send({ events: [] })).status === 202);
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
  await plane.dispose();
});

interface SendOptions {
  /** null: no credential. */
  readonly key?: string | null;
  readonly url?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

async function send(
  body: unknown,
  { key = srv, url = eventsUrl(), headers = {} }: SendOptions = {},
): Promise<Response> {
  return fetch(url, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  });
}

const exposure = (more: object = {}) => ({
  id: newId(),
  kind: 'exposure',
  at: Date.now(),
  flag: 'checkout',
  variation: 'on',
  context: { targetingKey: 'u' },
  ...more,
});
const read = async (path: string) => (await plane.must('GET', `${seed.dev.path}${path}`)).body;
const flagUsage = () => read('/flags/checkout/usage');

describe('POST /v1/events', () => {
  it('counts exposures, metric events and summaries, each id once, and says who sent them', async () => {
    const events = [
      exposure(),
      exposure({ variation: 'off' }),
      { id: newId(), kind: 'metric', at: Date.now(), key: 'order', value: 3, context: { targetingKey: 'u' } },
      {
        id: newId(),
        kind: 'summary',
        from: 0,
        to: Date.now(),
        counts: [
          { flag: 'checkout', variation: 'on', count: 40 },
          { flag: 'checkout', variation: null, errorCode: 'TYPE_MISMATCH', count: 2 },
          { flag: 'chekout', variation: null, errorCode: 'FLAG_NOT_FOUND', count: 7 },
          { flag: '__proto__', variation: null, errorCode: 'FLAG_NOT_FOUND', count: 1 },
        ],
      },
    ];
    const sdk = { name: '@guidon/server-sdk', version: '0.1.0' };
    for (let attempt = 0; attempt < 2; attempt += 1) {
      const answer = await send({ sdk, events });
      expect([answer.status, await answer.json()]).toEqual([202, { accepted: 4, refused: [] }]);
    }
    await until('the summary is counted', async () => (await flagUsage()).evaluations === 40);
    await until('both batches are gone', () => readdirSync(join(directory, 'events')).length === 0);
    expect(await flagUsage()).toMatchObject({
      flag: 'checkout',
      evaluations: 40,
      errors: 2,
      exposures: 2,
      total: {
        evaluations: { on: 40 },
        errors: { TYPE_MISMATCH: 2 },
        exposures: { on: 1, off: 1 },
        clientReads: {},
      },
    });
    expect((await read('/usage?interval=minute')).total).toMatchObject({
      evaluations: { '': 40 },
      errors: { TYPE_MISMATCH: 2, FLAG_NOT_FOUND: 8 },
      metricEvents: 1,
    });
    expect((await read('/unknown-flags')).items).toMatchObject([
      { flag: 'chekout', count: 7 },
      { flag: '__proto__', count: 1 },
    ]);
    expect((await read('/sdks')).items).toMatchObject([{ ...sdk, key: 'srv', count: 4 }]);
    expect((await read('/flag-usage')).items).toMatchObject([{ flag: 'checkout', evaluations: 40 }]);
  });

  it('counts what the node itself answers, by variation and error', async () => {
    const before = (await flagUsage()).total.evaluations.off ?? 0;
    const evaluate = (flags: string): Promise<Response> =>
      send({ flags, context: { targetingKey: 'u' } }, { url: `${server.url}/v1/evaluate` });
    for (let index = 0; index < 5; index += 1) expect((await evaluate('checkout')).status).toBe(200);
    await evaluate('nobody');
    await until('five more', async () => (await flagUsage()).total.evaluations.off === before + 5);
    await until('the one that is not there', async () => (await read('/unknown-flags')).unnamedCount === 1);
  });

  it('refuses a bad event in its place and takes the rest', async () => {
    const answer = await send({ events: [exposure({ flag: 7 }), exposure()] });
    expect([answer.status, await answer.json()]).toMatchObject([
      202,
      { accepted: 1, refused: [{ index: 0, code: 'validation-failed', pointer: '/events/0/flag' }] },
    ]);
  });

  it('takes msgpack', async () => {
    const response = await fetch(eventsUrl(), {
      method: 'POST',
      headers: { 'content-type': 'application/msgpack', authorization: `Bearer ${srv}` },
      body: Uint8Array.from(encodeMsgpack({ events: [exposure()] })),
    });
    expect([response.status, response.headers.get('content-type')]).toEqual([202, 'application/msgpack']);
  });

  it.each<[name: string, body: unknown, sent: SendOptions & { query?: string }, status: number, code: string]>([
    ['nobody', { events: [] }, { key: null }, 401, 'invalid-credentials'],
    ['no JSON', '{', {}, 400, 'malformed-body'],
    ['no batch', [], {}, 422, 'validation-failed'],
    ['a member of ours to be', { events: [], tenantId: 't' }, {}, 422, 'validation-failed'],
    ['too many events', { events: Array.from({ length: 1_001 }, () => 1) }, {}, 422, 'limit-exceeded'],
    ['too many bytes', { events: ['x'.repeat(256 * 1024)] }, {}, 413, 'payload-too-large'],
    ['an encoding', { events: [] }, { headers: { 'content-encoding': 'gzip' } }, 415, 'unsupported-media-type'],
    ['a query', { events: [] }, { query: '?x=1' }, 400, 'unknown-parameter'],
    ['its key in the URL', { events: [] }, { query: '?key=x' }, 400, 'credential-in-url'],
    ['no token', { events: [] }, { key: null, query: '?streamToken=x' }, 401, 'invalid-credentials'],
  ])('refuses %s', async (_name, body, { query = '', ...options }, status, code) => {
    const answer = await send(body, { url: eventsUrl() + query, ...options });
    expect([answer.status, (await answer.json()).code]).toEqual([status, code]);
  });
});

describe('the server SDK', () => {
  it('tells what it evaluated, what it did not find, and what was tracked', async () => {
    const before = await flagUsage();
    const metricsBefore = (await read('/usage')).total.metricEvents;
    const client = createClient({ url: server.url, key: srv, trustRoot: plane.running.trustRoot });
    try {
      await client.waitForReady({ timeoutMs: 20_000 });
      for (let index = 0; index < 7; index += 1) client.boolean('checkout', { targetingKey: 'u' }, true);
      client.boolean('misspelt', { targetingKey: 'u' }, true);
      client.track('order', { targetingKey: 'u' }, { value: 2 });
      await client.flush();
    } finally {
      await client.close();
    }
    await until('seven more', async () => (await flagUsage()).evaluations === before.evaluations + 7);
    expect((await flagUsage()).total.evaluations.off).toBe((before.total.evaluations.off ?? 0) + 7);
    expect((await read('/unknown-flags')).items).toContainEqual(
      expect.objectContaining({ flag: 'misspelt', count: 1 }),
    );
    await until('the metric', async () => (await read('/usage')).total.metricEvents === metricsBefore + 1);
    expect((await read('/sdks')).items[0]).toMatchObject({ name: expect.stringContaining('server-sdk'), key: 'srv' });
  });
});

describe('the server SDK, given what no event can tell', () => {
  it('drops that alone, counts it, and tells the rest', async () => {
    const before = await flagUsage();
    const metricsBefore = (await read('/usage')).total.metricEvents;
    const logger = { warn: () => undefined };
    const client = createClient({ url: server.url, key: srv, trustRoot: plane.running.trustRoot, logger });
    const user = { targetingKey: 'u' };
    const cyclic: { self?: Json } = {};
    cyclic.self = cyclic;
    try {
      await client.waitForReady({ timeoutMs: 20_000 });
      for (const name of ['', 'x'.repeat(257), '\ud800']) expect(client.boolean(name, user, true)).toBe(true);
      client.boolean('checkout', user, true);
      client.track('order', user, { data: cyclic });
      client.track('order', user, { data: JSON.parse('[]', (_, value) => (Array.isArray(value) ? [10n] : value)) });
      client.track('order', user, { data: { text: 'x'.repeat(300_000) } });
      client.track('order', user, { value: 1 });
      await client.flush();
      expect(client.status().lostEventCount).toBe(3);
    } finally {
      await client.close();
    }
    await until('it is counted', async () => (await flagUsage()).evaluations === before.evaluations + 1);
    await until('the metric', async () => (await read('/usage')).total.metricEvents === metricsBefore + 1);
  });
});

describe('a page that is being left', () => {
  const origin = 'https://shop.example';
  async function tokenFor(use: string): Promise<string> {
    const answer = await send({ use }, { key: web, url: `${server.url}/v1/stream/token`, headers: { origin } });
    return String((await answer.json()).token);
  }
  const beacon = async (token: string, from = origin): Promise<Response> =>
    send(
      { events: [exposure({ variation: 'beacon' })] },
      {
        key: null,
        url: `${eventsUrl()}?streamToken=${token}`,
        headers: { origin: from, 'content-type': 'text/plain;charset=UTF-8' },
      },
    );

  it('sends text with a token for events, from its own origin, and is told so', async () => {
    const answer = await beacon(await tokenFor('events'));
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([202, origin]);
    await until('it is counted', async () => (await flagUsage()).total.exposures.beacon === 1);
  });

  it('is refused with a token for something else, and from elsewhere', async () => {
    expect((await beacon(await tokenFor('sse'))).status).toBe(401);
    expect((await beacon(await tokenFor('events'), 'https://other.example')).status).toBe(403);
    const stream = await fetch(`${server.url}/v1/stream/sse?streamToken=${await tokenFor('events')}`);
    expect(stream.status).toBe(401);
  });

  it('says what clients use apart from what nodes evaluate', async () => {
    const before = (await flagUsage()).evaluations;
    const counts = [{ flag: 'checkout', variation: 'on', count: 9 }];
    const summary = { id: newId(), kind: 'summary', from: 0, to: Date.now(), counts };
    expect((await send({ events: [summary] }, { key: web, headers: { origin } })).status).toBe(202);
    await until('it is counted', async () => (await flagUsage()).total.clientReads.on === 9);
    expect((await flagUsage()).evaluations).toBe(before);
  });
});
