import { connect } from 'node:net';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { sendJson } from '../support/http.js';
import { until } from '../support/running-node.js';
import { ClientConfig, EventReader } from '../support/stream-client.js';
import { StreamedPlatform, type StreamedTenant, WEB_ORIGIN } from '../support/streamed-platform.js';

/** `GET /v1/stream/sse` through a real node and control plane, read by real fetch: wire.md "Live updates", ecosystem 1.6. */
let platform: StreamedPlatform;
let a: StreamedTenant;
let b: StreamedTenant;
const readers: EventReader[] = [];

beforeAll(async () => {
  platform = await StreamedPlatform.start();
  a = await platform.addTenant('canary-a', ['gate', 'other']);
  b = await platform.addTenant('canary-b');
});
afterEach(() => {
  for (const reader of readers.splice(0)) reader.close();
});
afterAll(() => platform.close());

async function open(key: string | undefined, query = '', headers: Record<string, string> = {}): Promise<EventReader> {
  const reader = await EventReader.open(`${platform.server.url}/v1/stream/sse${query}`, {
    ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    ...headers,
  });
  readers.push(reader);
  return reader;
}

const contextOf = (context: unknown) => `?context=${Buffer.from(JSON.stringify(context)).toString('base64url')}`;
const typesOf = ({ events }: EventReader) => events.map(({ message }) => message.type);
const untilCount = (reader: EventReader, count: number) =>
  reader.until(`${count} events`, () => reader.events.length >= count);

test('a server key gets everything, then what changed, with ids, and resumes by Last-Event-ID', async () => {
  const reader = await open(a.srv);
  expect([reader.status, reader.headers.get('content-type')]).toEqual([200, 'text/event-stream']);
  expect(reader.headers.get('cache-control')).toBe('no-cache, no-transform');
  expect(reader.headers.get('x-accel-buffering')).toBe('no');
  await untilCount(reader, 1);
  expect(reader.text.startsWith('retry: 2000\n\n')).toBe(true);
  const revision = await platform.change(a, 'gate', { on: true });
  await untilCount(reader, 2);
  expect(typesOf(reader)).toEqual(['put', 'patch']);
  expect(reader.events.map(({ id }) => id)).toEqual([`1.${revision - 1}`, `1.${revision}`]);
  const config = new ClientConfig();
  let at: { epoch: number; revision: number } | undefined;
  for (const { message } of reader.events) {
    if ((message.type !== 'put' && message.type !== 'patch') || !('config' in message)) throw new Error('no config');
    config.apply(message.config, at); // throws when the digest is not that of the manifest
    at = { epoch: message.epoch, revision: message.revision };
  }
  const resumed = await open(a.srv, '', { 'last-event-id': `1.${revision - 1}` });
  await untilCount(resumed, 1);
  const current = await open(a.srv, '', { 'last-event-id': `1.${revision}` });
  const foreign = await open(a.srv, '', { 'last-event-id': 'something-else' });
  await untilCount(foreign, 1);
  await platform.change(a, 'gate', { on: false });
  await untilCount(current, 1);
  expect([typesOf(resumed)[0], typesOf(foreign)[0], typesOf(current)[0]]).toEqual(['patch', 'put', 'patch']);
});

test('a client key gets values for the context of its URL, then those that changed', async () => {
  await platform.change(a, 'gate', { on: false });
  const reader = await open(a.web, contextOf({ targetingKey: 'é 漢' }), { origin: WEB_ORIGIN });
  expect(reader.headers.get('access-control-allow-origin')).toBe(WEB_ORIGIN);
  await untilCount(reader, 1);
  await platform.change(a, 'gate', { on: true });
  await untilCount(reader, 2);
  expect(reader.events[1]?.message).toMatchObject({
    type: 'patch',
    values: { results: [{ flag: 'gate', value: 'canary-a-gate-on' }], removed: [] },
  });
  await platform.change(a, 'other', { on: false, name: undefined });
  expect(reader.text).not.toContain('canary-b');
});

test('a page shows a token in place of its key', async () => {
  const minted = await sendJson(`${platform.server.url}/v1/stream/token`, {
    key: a.web,
    body: { use: 'sse' },
    headers: { origin: WEB_ORIGIN },
  });
  const token = String(minted.body.token);
  const reader = await open(undefined, `?streamToken=${token}`, { origin: WEB_ORIGIN });
  await untilCount(reader, 1);
  expect((await open(undefined, `?streamToken=${token}`, { origin: 'https://evil.example' })).status).toBe(403);
  expect((await open(undefined, `?streamToken=${token}x`, { origin: WEB_ORIGIN })).status).toBe(401);
});

describe('it is refused', () => {
  test.each([
    ['without a key', undefined, '', {}, 401],
    ['with a key in the URL', undefined, '?token=gdn_web_x', {}, 400],
    ['with an unknown parameter', 'srv', '?since=1.1', {}, 400],
    ['with a context of a server key', 'srv', contextOf({}), {}, 422],
    ['with a context that is not JSON', 'web', '?context=e30x', {}, 422],
    ['with a context that is no object', 'web', contextOf('text'), {}, 400],
    ['with too large a context', 'web', contextOf({ targetingKey: 'x'.repeat(4_200) }), {}, 413],
    ['to a page of another origin', 'web', contextOf({}), { origin: 'https://evil.example' }, 403],
    ['to a page with a server key', 'srv', '', { origin: WEB_ORIGIN }, 403],
  ] as const)('%s', async (_, kind, query, headers, status) => {
    const reader = await open(kind === undefined ? undefined : a[kind], query, headers);
    expect([reader.status, reader.headers.get('content-type')]).toEqual([status, 'application/problem+json']);
  });
});

test('a revoked key ends its events within a second, with a goodbye', async () => {
  const reader = await open(b.srv);
  await untilCount(reader, 1);
  await platform.revoke(b, b.srv);
  const revokedAtMs = performance.now();
  await reader.until('the stream has ended', () => reader.hasEnded);
  expect(performance.now() - revokedAtMs).toBeLessThan(1_000);
  expect(reader.events.at(-1)?.message).toMatchObject({ type: 'bye', reason: 'credential' });
  expect(reader.text).toMatch(/retry: \d+\ndata: \{"type":"bye"/);
});

test('resets at any time leave nothing behind', async () => {
  for (let count = 0; count < 40; count += 1) {
    const socket = connect(platform.server.port, '127.0.0.1');
    socket.on('error', () => undefined);
    await new Promise((resolve) => socket.once('connect', resolve));
    socket.write(`GET /v1/stream/sse HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${a.srv}\r\n\r\n`);
    if (count % 2 === 0) await new Promise((resolve) => setTimeout(resolve, count % 5));
    socket.resetAndDestroy();
  }
  await until(
    'no stream is left',
    async () => (await platform.metric('guidon_stream_connections{transport="sse"}')) === 0,
  );
});
