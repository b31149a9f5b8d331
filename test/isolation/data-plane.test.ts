import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { encodeMsgpack } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { type RunningServer, startServer } from '@guidon/server';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { WebSocket } from 'ws';
import { until } from '../support/running-node.js';
import { type PlantedTenant, TwoTenants } from './two-tenants.js';

/** I16 on a real node behind a real control plane, fed over HTTP: no byte of B in any answer to a credential of A. */

let installation: TwoTenants;
let server: RunningServer;
let directory: string;

beforeAll(async () => {
  installation = await TwoTenants.start();
  const { a, b, plane, node } = installation;
  for (const { project, admin } of [a, b]) {
    await plane.must('POST', `${project}/flags`, { token: admin, body: { key: 'plain', type: 'boolean' } });
  }
  await plane.must('POST', `${b.project}/flags`, {
    token: b.admin,
    body: { key: 'only-b', type: 'boolean', clientSide: true },
  });
  // B is some revisions ahead, so that whose revision an answer carries can be told.
  for (let count = 0; count < 5; count += 1) {
    await plane.must('POST', `${b.environment}/segments/beta/keys`, {
      token: b.admin,
      body: { add: [`more-${count}`] },
    });
  }
  directory = mkdtempSync(join(tmpdir(), 'guidon-isolation-'));
  server = await startServer({
    dataDirectory: directory,
    port: 0,
    metricsPort: 0,
    controlPlaneUrl: plane.running.url,
    nodeCredential: node,
    trustRoot: plane.running.trustRoot,
    logger: pino({ level: 'silent' }),
    pollIntervalMs: 200,
  });
  await untilServed(a);
  await untilServed(b);
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
  await installation.plane.dispose();
});

interface Received {
  readonly status: number;
  readonly headers: Headers;
  /** Status, headers and body, as one text to look for canaries in. */
  readonly everything: string;
  readonly body: string;
}

interface Sending {
  readonly key?: string;
  readonly headers?: Record<string, string>;
  readonly isMsgpack?: boolean;
}

async function post(path: string, content: Json, { key, headers, isMsgpack = false }: Sending): Promise<Received> {
  const mediaType = isMsgpack ? 'application/msgpack' : 'application/json';
  const response = await fetch(`${server.url}${path}`, {
    method: 'POST',
    headers: {
      'content-type': mediaType,
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
      ...headers,
    },
    body: isMsgpack ? Uint8Array.from(encodeMsgpack(content)) : JSON.stringify(content),
  });
  const body = Buffer.from(await response.arrayBuffer()).toString('latin1');
  const shown = JSON.stringify([...response.headers]);
  return {
    status: response.status,
    headers: response.headers,
    everything: `${response.status} ${shown} ${body}`,
    body,
  };
}

async function untilServed({ srv, environmentId }: PlantedTenant): Promise<void> {
  const deadlineMs = performance.now() + 20_000;
  while (performance.now() < deadlineMs) {
    const { status } = await post('/v1/evaluate', { context: {} }, { key: srv });
    if (status === 200) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error(`the node does not serve ${environmentId}`);
}

const webHeaders = ({ canary }: PlantedTenant) => ({ origin: `https://${canary}.example` });
const withoutIds = (text: string): string => text.replace(/"instance":"[^"]*"/, '');

const OFREP_BULK = '/ofrep/v1/evaluate/flags';
/** What metrics name a route by. */
const routeOf = (path: string): string =>
  path.startsWith(`${OFREP_BULK}/`) ? `${OFREP_BULK}/:key` : path.replace(/\?.*/, '');

/** Every route of the node with bodies that ask for as much as they can. */
function requestsAbout(other: PlantedTenant): readonly (readonly [path: string, body: Json])[] {
  const contexts: Json[] = [
    {},
    { targetingKey: other.canary },
    { targetingKey: `${other.canary}-member`, [other.canary]: other.canary },
    { kind: 'multi', user: { targetingKey: 'member' }, [other.canary]: { targetingKey: other.canary } },
  ];
  return [
    ...contexts.flatMap((context): (readonly [string, Json])[] => [
      ['/v1/evaluate', { context }],
      ['/v1/values', { context }],
      ['/v1/evaluate', { context, flags: 'gate' }],
      ['/v1/evaluate', { context, flags: ['gate', 'only-b', 'plain', 'nope'] }],
      ['/v1/explain', { context, flag: 'gate' }],
      ['/v1/explain', { context, flag: 'only-b' }],
    ]),
    ...contexts.flatMap((context): (readonly [string, Json])[] => [
      [OFREP_BULK, { context }],
      [`${OFREP_BULK}/gate`, { context }],
      [`${OFREP_BULK}/only-b`, { context }],
    ]),
    [`${OFREP_BULK}?flagConfigEtag=1.1`, { context: {} }],
    ['/v1/evaluate/batch', { contexts, flags: ['gate', 'only-b', 'plain'] }],
    ['/v1/evaluate/batch', { requests: contexts.map((context) => ({ flag: 'gate', context })) }],
    ['/v1/evaluate/batch', { requests: [{ flag: 'only-b' }, 7, {}] }],
    ['/v1/evaluate', { flag_key: 'gate', user_id: other.canary, context: {} }],
    ['/v1/events', { events: [exposureOf('gate', other.canary), exposureOf('only-b', other.canary), { id: 'x' }] }],
  ];
}

let eventCount = 0;

function exposureOf(flag: string, targetingKey: string): Json {
  eventCount += 1;
  const id = `event-${String(eventCount).padStart(14, '0')}`;
  return { id, kind: 'exposure', at: Date.now(), flag, variation: targetingKey, context: { targetingKey } };
}

/** Config and streams, which are read: what they give is asked for below. */
const READING_ROUTES = [
  '/v1/config',
  '/v1/config/:cacheToken',
  '/v1/key-set',
  '/v1/stream',
  '/v1/stream/sse',
  '/v1/stream/token',
  '/ofrep/v1/stream',
];

interface Reading {
  readonly status: number;
  /** Status, headers and as much of the body as came. */
  readonly everything: string;
}

/** A stream does not end: what its first message holds is read. */
async function read(path: string, key: string | undefined, headers: Record<string, string> = {}): Promise<Reading> {
  const response = await fetch(`${server.url}${path}`, {
    redirect: 'manual',
    headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
  });
  const reader = response.body?.getReader();
  const isStream = response.headers.get('content-type') === 'text/event-stream';
  let text = '';
  for (;;) {
    const part = await reader?.read();
    if (part === undefined || part.done) break;
    text += Buffer.from(part.value).toString('latin1');
    if (isStream && text.includes('data:')) break;
  }
  await reader?.cancel();
  return { status: response.status, everything: `${response.status} ${JSON.stringify([...response.headers])} ${text}` };
}

/** The token of an event stream of `other`, with the credential of `own` written into it. */
async function foreignToken(own: PlantedTenant, other: PlantedTenant): Promise<string> {
  const { body } = await post(OFREP_BULK, { context: {} }, { key: other.srv });
  const token = /streamToken=([^&"]+)/.exec(body)?.[1] ?? '';
  const credentialId = (key: string): string => key.split('_')[2] ?? '';
  expect(token).toContain(credentialId(other.srv));
  return token.replace(credentialId(other.srv), credentialId(own.srv));
}

/** The first message of a WebSocket, or why there is none. */
function firstMessage(key: string | undefined, hello: Json, headers: Record<string, string> = {}): Promise<string> {
  return new Promise((resolve) => {
    const socket = new WebSocket(`${server.url.replace('http', 'ws')}/v1/stream`, 'guidon.v1.json', {
      headers: { ...(key === undefined ? {} : { authorization: `Bearer ${key}` }), ...headers },
    });
    const end = (text: string): void => {
      resolve(text);
      socket.terminate();
    };
    socket.on('open', () => socket.send(JSON.stringify(hello)));
    socket.on('message', (data) => end(Buffer.isBuffer(data) ? data.toString() : 'no bytes'));
    socket.on('close', (code) => end(`closed ${code}`));
    socket.on('error', (error) => end(`failed ${error.message}`));
  });
}

/** A request may hold B's canary, and the answer may say what was asked; B's data must not be in it besides. */
function dataOf({ canary }: PlantedTenant): string[] {
  return [`${canary}-on`, `"${canary}":"${canary}"`, `${canary} `, `https://${canary}.example`, `"ruleId":"${canary}"`];
}

describe('a node that serves two tenants (I16)', () => {
  test('has no other routes than the ones tried here', async () => {
    const metrics = await (await fetch(`${server.metricsUrl}/metrics`)).text();
    const routes = new Set([...metrics.matchAll(/route="(\/[^"]*)"/g)].map(([, route]) => route));
    expect(routes).toEqual(
      new Set([...requestsAbout(installation.b).map(([path]) => routeOf(path)), ...READING_ROUTES]),
    );
    expect(metrics).not.toContain(installation.a.canary);
    expect(metrics).not.toContain(installation.b.canary);
  });

  test('answers each credential from its own environment alone, in JSON and msgpack', async () => {
    const { a, b } = installation;
    let ownSeen = 0;
    for (const [own, other] of [
      [a, b],
      [b, a],
    ] as const) {
      for (const [path, body] of requestsAbout(other)) {
        for (const isMsgpack of [false, true]) {
          for (const [key, headers] of [
            [own.srv, {}],
            [own.web, webHeaders(own)],
          ] as const) {
            const received = await post(path, body, { key, headers, isMsgpack });
            for (const secret of [...dataOf(other), other.environmentId, other.tenantId]) {
              expect(received.everything.includes(secret), `${path} shows ${secret}`).toBe(false);
            }
            if (received.everything.includes(own.canary)) ownSeen += 1;
            const revision = received.headers.get('x-guidon-revision');
            if (received.status === 200) expect(Number(revision)).toBe(server.revisionOf(own.environmentId));
          }
        }
      }
    }
    expect(server.revisionOf(a.environmentId)).not.toBe(server.revisionOf(b.environmentId));
    // The canaries are in these answers where they belong: not seeing one elsewhere means something.
    expect(ownSeen).toBeGreaterThan(50);
  });

  test('events count for the environment of their credential, and an id of A takes nothing away from B', async () => {
    const { a, b, plane } = installation;
    const exposure = exposureOf('gate', 'served');
    const exposed = async ({ environment, admin }: PlantedTenant): Promise<unknown> => {
      const { body } = await plane.must('GET', `${environment}/flags/gate/usage`, { token: admin });
      return body.total.exposures.served;
    };
    for (const [sender, seen] of [
      [a, [1, undefined]],
      [a, [1, undefined]],
      [b, [1, 1]],
    ] as const) {
      expect((await post('/v1/events', { events: [exposure] }, { key: sender.srv })).status).toBe(202);
      // What comes last in the same segment or a later one has been counted after it.
      const mark = exposureOf('gate', `mark-${eventCount}`);
      await post('/v1/events', { events: [mark] }, { key: sender.srv });
      await until('it is counted', async () => {
        const { body } = await plane.must('GET', `${sender.environment}/flags/gate/usage`, { token: sender.admin });
        return body.total.exposures[String(Reflect.get(Object(mark), 'variation'))] === 1;
      });
      expect([await exposed(a), await exposed(b)]).toEqual(seen);
    }
  });

  test('a flag of B is for A what an unknown flag is, byte for byte', async () => {
    const { a } = installation;
    for (const [key, headers] of [
      [a.srv, {}],
      [a.web, webHeaders(a)],
    ] as const) {
      for (const path of ['/v1/evaluate', '/v1/values']) {
        const foreign = await post(path, { flags: 'only-b', context: {} }, { key, headers });
        const missing = await post(path, { flags: 'none-b', context: {} }, { key, headers });
        expect(foreign.body.replace('only-b', '')).toBe(missing.body.replace('none-b', ''));
        expect(foreign.body).toContain('FLAG_NOT_FOUND');
      }
    }
    const ofrep = (flag: string) => post(`${OFREP_BULK}/${flag}`, { context: {} }, { key: a.srv });
    const ofrepTexts = [(await ofrep('only-b')).body, (await ofrep('none-b')).body];
    expect(new Set(ofrepTexts.map((text) => withoutIds(text).replace(/(only|none)-b/, ''))).size).toBe(1);
    const foreign = await post('/v1/explain', { flag: 'only-b', context: {} }, { key: a.srv });
    const missing = await post('/v1/explain', { flag: 'none-b', context: {} }, { key: a.srv });
    const masked = ({ body }: Received) => body.replaceAll(/(only|none)-b/g, '').replaceAll(/\d{13}/g, '');
    expect(masked(foreign)).toBe(masked(missing));
  });

  test('credentials of other kinds and of nobody get nothing, whatever they ask', async () => {
    const { a, b, node } = installation;
    const forged = `${a.srv.slice(0, -1)}${a.srv.endsWith('0') ? '1' : '0'}`;
    for (const [path, body] of requestsAbout(b)) {
      const answers = await Promise.all(
        [undefined, a.admin, node, forged].map((key) => post(path, body, key === undefined ? {} : { key })),
      );
      for (const { status, everything } of answers) {
        expect([401, 403]).toContain(status);
        expect(everything).not.toContain(a.environmentId);
        for (const secret of [...dataOf(b), ...dataOf(a)]) expect(everything).not.toContain(secret);
      }
      expect(withoutIds(answers[0]?.body ?? '')).toBe(withoutIds(answers[3]?.body ?? ''));
    }
  });

  test('the key set is for server credentials, the same for each, and names no environment', async () => {
    const { a, b, node } = installation;
    const answers = await Promise.all([a, b].map(({ srv }) => read('/v1/key-set', srv)));
    for (const { status, everything } of answers) {
      expect(status).toBe(200);
      expect(everything).toContain('rootPublicKey');
      for (const tenant of [a, b]) {
        for (const secret of [...dataOf(tenant), tenant.environmentId, tenant.tenantId])
          expect(everything).not.toContain(secret);
      }
    }
    const bodyOf = ({ everything }: Reading) => everything.slice(everything.indexOf('] ') + 2);
    expect(new Set(answers.map(bodyOf)).size).toBe(1);
    for (const key of [undefined, a.admin, node]) expect((await read('/v1/key-set', key)).status).toBe(401);
    expect((await read('/v1/key-set', a.web, webHeaders(a))).status).toBe(403);
  });

  test('config and streams give each credential its own environment alone', async () => {
    const { a, b, node } = installation;
    const pathOf = async (key: string): Promise<string> => {
      const response = await fetch(`${server.url}/v1/config`, {
        redirect: 'manual',
        headers: { authorization: `Bearer ${key}` },
      });
      return response.headers.get('location') ?? `none: ${response.status}`;
    };
    for (const [own, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const foreignPath = await pathOf(other.srv);
      const hellos = [{ type: 'hello' }, { type: 'hello', context: { targetingKey: other.canary } }];
      const context = Buffer.from(JSON.stringify({ targetingKey: 'member' })).toString('base64url');
      const own200 = [
        await read(await pathOf(own.srv), own.srv),
        await read('/v1/stream/sse', own.srv),
        await read(`/v1/stream/sse?context=${context}`, own.web, webHeaders(own)),
      ];
      const texts = [
        ...own200.map(({ everything }) => everything),
        await firstMessage(own.srv, hellos[0] ?? null),
        await firstMessage(own.web, hellos[1] ?? null, webHeaders(own)),
        (await post('/v1/stream/token', { use: 'sse' }, { key: own.web, headers: webHeaders(own) })).everything,
        // Without `since` it says at once where the environment is.
        (await read('/ofrep/v1/stream', own.srv)).everything,
      ];
      expect(own200.map(({ status }) => status)).toEqual([200, 200, 200]);
      expect(texts.filter((text) => text.includes(own.canary)).length).toBeGreaterThan(3);
      for (const text of texts) {
        for (const secret of [...dataOf(other), other.environmentId, other.tenantId]) {
          expect(text.includes(secret), secret).toBe(false);
        }
      }
      const refused = [
        await read(foreignPath, own.srv),
        await read(foreignPath, undefined),
        await read(foreignPath, node),
        await read('/v1/stream/sse', node),
        await read('/ofrep/v1/stream', node),
        await read(`/ofrep/v1/stream?streamToken=${await foreignToken(own, other)}`, undefined),
        await read('/v1/stream/sse', own.web, webHeaders(other)),
        await read('/v1/config', own.web, webHeaders(own)),
      ];
      expect(refused.map(({ status }) => status)).toEqual([404, 401, 401, 401, 401, 401, 403, 403]);
      for (const { everything } of refused) {
        for (const secret of [...dataOf(other), other.environmentId]) expect(everything).not.toContain(secret);
      }
    }
  });

  test('explain is refused to web keys; an origin of B opens nothing for a key of A', async () => {
    const { a, b } = installation;
    const explained = await post('/v1/explain', { flag: 'gate', context: {} }, { key: a.web, headers: webHeaders(a) });
    expect(explained.status).toBe(403);
    const received = await post('/v1/evaluate', { context: {} }, { key: a.web, headers: webHeaders(b) });
    expect(received.status).toBe(403);
    expect(received.everything).not.toContain(b.canary);
    expect(received.body).not.toContain(a.canary);
  });

  test('If-None-Match, minRevision and headers of B change nothing for A', async () => {
    const { a, b } = installation;
    const revisionOfB = server.revisionOf(b.environmentId) ?? 0;
    const plain = await post('/v1/evaluate', { context: {} }, { key: a.srv });
    const headers = {
      'if-none-match': `"${revisionOfB}"`,
      'x-guidon-environment': b.environmentId,
      'x-forwarded-host': b.environmentId,
      cookie: `environment=${b.environmentId}`,
    };
    const tricked = await post('/v1/evaluate', { context: {} }, { key: a.srv, headers });
    expect([tricked.status, tricked.body]).toEqual([200, plain.body]);
    const behind = await post('/v1/evaluate', { context: {}, minRevision: revisionOfB }, { key: a.srv });
    expect(behind.status).toBe(409);
    expect(behind.everything).not.toContain(b.canary);
  });

  test('1 000 requests of both, mixed and at once, never swap answers', async () => {
    const { a, b } = installation;
    const mixed = Array.from({ length: 1_000 }, (_, index) => {
      const [own, other] = index % 2 === 0 ? ([a, b] as const) : ([b, a] as const);
      const isBatch = index % 5 === 0;
      const context = { targetingKey: own.canary };
      const body: Json = isBatch ? { contexts: [context, context], flags: ['gate'] } : { flags: 'gate', context };
      const path = isBatch ? '/v1/evaluate/batch' : '/v1/evaluate';
      return { own, other, send: () => post(path, body, { key: own.srv, isMsgpack: index % 3 === 0 }) };
    });
    for (let from = 0; from < mixed.length; from += 100) {
      const answers = await Promise.all(
        mixed.slice(from, from + 100).map(async (one) => ({ ...one, got: await one.send() })),
      );
      for (const { own, other, got } of answers) {
        expect(got.status).toBe(200);
        expect(got.body.includes(own.canary)).toBe(true);
        expect(got.everything.includes(other.canary)).toBe(false);
      }
    }
  });
});
