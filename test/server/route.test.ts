import { PlatformError } from '@guidon/protocol';
import { AnswerHead, type Reply } from '@guidon/server/reply.js';
import { type RouteRequest, Router } from '@guidon/server/route.js';
import { createApp, type ListeningApp, listen } from '@guidon/server/uws-app.js';
import { decode } from '@msgpack/msgpack';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { postBytes, type RawAnswer, RawConnection } from '../support/raw-http.js';

/** The route wrapper alone, over real sockets: what it refuses, and what it survives (M12-M15, I26, threat model 2.2). */
const BODY_MAX = 64 * 1024;
const HOST = ['Host', 'localhost'] as const;
const JSON_TYPE = ['Content-Type', 'application/json'] as const;
const MSGPACK_TYPE = ['Content-Type', 'application/msgpack'] as const;

let port = 0;
let router: Router;
let listening: ListeningApp;
const errors: unknown[] = [];
const OCTETS = new AnswerHead('application/octet-stream', []);
const TEXT = new AnswerHead('text/plain', ['Cache-Control: no-store']);
let heard: string[] = [];

type Handler = (request: RouteRequest<string>) => Promise<void> | undefined;

/** Requests that reached the handler `echo`. */
let echoCount = 0;

const handlers: Record<string, Handler> = {
  echo: ({ body, reply }) => {
    echoCount += 1;
    heard.push(Buffer.from(body).toString('latin1'));
    reply.ok(OCTETS, body);
    return undefined;
  },
  throws: () => {
    throw new Error('secret detail');
  },
  refuses: () => {
    throw new PlatformError('limit-exceeded', 'too many', {
      issues: [{ pointer: '/flags', code: 'limit-exceeded', detail: 'too many' }],
    });
  },
  silent: () => undefined,
  later: async ({ reply }) => {
    await new Promise((resolve) => setTimeout(resolve, 30));
    reply.ok(TEXT, 'late');
  },
  'later-throws': async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    throw new Error('secret detail');
  },
  'later-silent': async () => {
    await new Promise((resolve) => setTimeout(resolve, 5));
  },
  never: () => new Promise<void>(() => undefined),
  twice: async ({ reply }: { reply: Reply }) => {
    reply.ok(TEXT, 'one');
    reply.ok(TEXT, 'two');
    await new Promise((resolve) => setTimeout(resolve, 5));
    throw new Error('after the answer');
  },
};

beforeAll(async () => {
  const app = createApp();
  router = new Router(app, { responseDeadlineMs: 300, onError: (error) => errors.push(error) });
  for (const [name, handle] of Object.entries(handlers)) {
    router.add<string>({
      path: `/t/${name}`,
      bodyBytesMax: BODY_MAX,
      authorize: (head) => head.authorization,
      handle,
      ...(name === 'echo' ? { preflight: (_head, reply) => reply.end(204, [], '') } : {}),
    });
  }
  router.add<string>({
    path: '/t/authorize-throws',
    bodyBytesMax: BODY_MAX,
    authorize: () => {
      throw new Error('secret detail');
    },
    handle: () => undefined,
  });
  router.seal();
  listening = await listen(app, '127.0.0.1', 0, false);
  port = listening.port;
});

afterAll(async () => {
  await router.drain(1_000);
  listening.close();
});

async function exchange(
  bytes: string | Uint8Array,
): Promise<{ answer: RawAnswer | undefined; connection: RawConnection }> {
  const connection = await RawConnection.open(port);
  connection.send(bytes);
  return { answer: await connection.read(), connection };
}

function problemOf(answer: RawAnswer | undefined): Record<string, unknown> {
  expect(answer?.headers.get('content-type')).toBe('application/problem+json');
  return JSON.parse(answer?.body.toString() ?? '');
}

const post = (path: string, body = '{}', ...headers: (readonly [string, string])[]): Buffer =>
  postBytes(path, [HOST, JSON_TYPE, ['Content-Length', String(Buffer.byteLength(body))], ...headers], body);

/** After whatever happened: the process answers. */
async function expectAlive(): Promise<void> {
  const { answer, connection } = await exchange(post('/t/echo', 'alive'));
  expect(answer?.body.toString()).toBe('alive');
  connection.end();
}

describe('Router refuses before a handler runs', () => {
  const manyHeaders = Array.from({ length: 62 }, (_, index) => [`X-Filler-${index}`, '1'] as const);
  const cl = (value: string): readonly [string, string] => ['Content-Length', value];
  const cases: [name: string, bytes: Buffer, status: number, code: string, closes: boolean][] = [
    [
      'two Content-Length (M13)',
      postBytes('/t/echo', [HOST, JSON_TYPE, cl('2'), cl('2')], '{}'),
      400,
      'malformed-request',
      true,
    ],
    [
      'two different Content-Length (M13)',
      postBytes('/t/echo', [HOST, JSON_TYPE, cl('2'), cl('40')], '{}'),
      400,
      'malformed-request',
      true,
    ],
    ['two Host (M13)', postBytes('/t/echo', [HOST, HOST, JSON_TYPE, cl('2')], '{}'), 400, 'malformed-request', true],
    [
      'two Authorization',
      postBytes('/t/echo', [HOST, JSON_TYPE, cl('2'), ['Authorization', 'a'], ['authorization', 'b']], '{}'),
      400,
      'malformed-request',
      true,
    ],
    [
      'two X-API-Key',
      postBytes('/t/echo', [HOST, JSON_TYPE, cl('2'), ['X-API-Key', 'a'], ['X-Api-Key', 'a']], '{}'),
      400,
      'malformed-request',
      true,
    ],
    [
      'two Content-Type',
      postBytes('/t/echo', [HOST, JSON_TYPE, JSON_TYPE, cl('2')], '{}'),
      400,
      'malformed-request',
      true,
    ],
    [
      'Authorization and X-API-Key',
      post('/t/echo', '{}', ['Authorization', 'a'], ['X-API-Key', 'b']),
      400,
      'malformed-request',
      false,
    ],
    [
      'Transfer-Encoding: chunked',
      postBytes('/t/echo', [HOST, JSON_TYPE, ['Transfer-Encoding', 'chunked']], '2\r\n{}\r\n0\r\n\r\n'),
      400,
      'malformed-request',
      true,
    ],
    [
      'Transfer-Encoding: xchunked (M13)',
      postBytes('/t/echo', [HOST, JSON_TYPE, ['Transfer-Encoding', 'xchunked']], '2\r\n{}\r\n0\r\n\r\n'),
      400,
      'malformed-request',
      true,
    ],
    ['an empty Content-Length', postBytes('/t/echo', [HOST, JSON_TYPE, cl('')]), 400, 'malformed-request', true],
    ['no Content-Length', postBytes('/t/echo', [HOST, JSON_TYPE]), 411, 'length-required', true],
    ['no Content-Type', postBytes('/t/echo', [HOST, cl('2')], '{}'), 415, 'unsupported-media-type', false],
    [
      'text/plain',
      postBytes('/t/echo', [HOST, ['Content-Type', 'text/plain'], cl('2')], '{}'),
      415,
      'unsupported-media-type',
      false,
    ],
    [
      'JSON in Latin-1',
      postBytes('/t/echo', [HOST, ['Content-Type', 'application/json; charset=iso-8859-1'], cl('2')], '{}'),
      415,
      'unsupported-media-type',
      false,
    ],
    [
      'Content-Encoding: gzip',
      post('/t/echo', '{}', ['Content-Encoding', 'gzip']),
      415,
      'unsupported-media-type',
      false,
    ],
    [
      'a body over the cap, by its length alone',
      postBytes('/t/echo', [HOST, JSON_TYPE, cl(String(BODY_MAX + 1))]),
      413,
      'payload-too-large',
      true,
    ],
    ['8 KiB of headers', post('/t/echo', '{}', ['X-Long', 'a'.repeat(8_200)]), 431, 'headers-too-large', true],
    ['more than 64 headers', post('/t/echo', '{}', ...manyHeaders), 431, 'headers-too-large', true],
    ['a URL over 2 KiB', post(`/t/${'a'.repeat(2_100)}`), 414, 'uri-too-long', true],
    ['a query over 2 KiB', post(`/t/echo?${'a'.repeat(2_100)}`), 414, 'uri-too-long', true],
    ['an unknown query parameter', post('/t/echo?verbose=1'), 400, 'unknown-parameter', false],
    ['a credential in the query', post('/t/echo?api_key=x'), 400, 'credential-in-url', false],
    ['a token in the query', post('/t/echo?x=gdn_srv_abc'), 400, 'credential-in-url', false],
    ['a credential in the query of an unknown path', post('/nowhere?token=x'), 400, 'credential-in-url', false],
    ['an invalid percent-encoding', post('/t/%zz'), 400, 'malformed-request', false],
    ['an invalid percent-encoding in the query', post('/t/echo?a=%4'), 400, 'malformed-request', false],
    ['an unknown path', post('/nowhere'), 404, 'not-found', false],
    ['another method', Buffer.from('GET /t/echo HTTP/1.1\r\nHost: a\r\n\r\n'), 405, 'method-not-allowed', false],
    [
      'a method nobody knows',
      Buffer.from('BREW /t/echo HTTP/1.1\r\nHost: a\r\n\r\n'),
      405,
      'method-not-allowed',
      false,
    ],
  ];
  it.each(cases)('%s', async (_name, bytes, status, code, closes) => {
    heard = [];
    const { answer, connection } = await exchange(bytes);
    expect(answer?.status).toBe(status);
    expect(problemOf(answer)).toMatchObject({
      code,
      status,
      type: `/problems/${code}`,
      instance: answer?.headers.get('x-request-id'),
    });
    if (closes) {
      expect(await connection.closes()).toBe(true);
      expect(await connection.read(50)).toBeUndefined();
    } else {
      connection.send(post('/t/echo', 'next'));
      expect((await connection.read())?.body.toString()).toBe('next');
    }
    expect(heard.filter((body) => body !== 'next')).toEqual([]);
    connection.end();
  });

  const smuggled = post('/t/echo', 'smuggled').toString('latin1');
  const smuggledLength = cl(String(smuggled.length));
  const openings: [name: string, headers: (readonly [string, string])[], path: string][] = [
    ['two Content-Length, 0 first', [cl('0'), smuggledLength], '/t/echo'],
    ['two Content-Length, 0 last', [smuggledLength, cl('0')], '/t/echo'],
    ['Transfer-Encoding: xchunked', [['Transfer-Encoding', 'xchunked']], '/t/echo'],
    ['two Host', [HOST, cl('0')], '/t/echo'],
    ['no Content-Length', [], '/t/echo'],
    ['two Content-Length to no endpoint', [cl('0'), smuggledLength], '/nowhere'],
  ];
  it.each(openings)(
    'never answers what is smuggled behind a refused request (M13): %s',
    async (_name, headers, path) => {
      heard = [];
      const connection = await RawConnection.open(port);
      connection.send(Buffer.concat([postBytes(path, [HOST, JSON_TYPE, ...headers]), Buffer.from(smuggled, 'latin1')]));
      expect(await connection.closes(2_000)).toBe(true);
      const answer = await connection.read(0);
      expect(answer === undefined || answer.status >= 400).toBe(true);
      expect(await connection.read(0)).toBeUndefined();
      expect(heard).toEqual([]);
      await expectAlive();
    },
  );

  it.each([
    ['NUL in a header', post('/t/echo', '{}', ['X-Odd', 'a\u0000b'])],
    ['a control byte in a header', post('/t/echo', '{}', ['X-Odd', 'a\u0001b'])],
    ['NUL in the URL', post('/t/echo\u0000', '{}')],
  ])('%s reaches no handler, and the process lives', async (_name, bytes) => {
    const before = echoCount;
    const connection = await RawConnection.open(port);
    connection.send(bytes);
    // uWS drops two of them without an answer (docs/limits.md).
    const answer = await connection.read(1_000);
    expect(answer === undefined || answer.status >= 400).toBe(true);
    expect(echoCount).toBe(before);
    connection.end();
    await expectAlive();
  });

  it('answers HEAD without a body, so that the connection stays in step', async () => {
    const { answer, connection } = await exchange('HEAD /t/echo HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer?.status).toBe(405);
    connection.send(post('/t/echo', 'next'));
    expect((await connection.read())?.body.toString()).toBe('next');
    connection.end();
  });

  it('names the methods of a path in Allow', async () => {
    const { answer, connection } = await exchange('GET /t/echo HTTP/1.1\r\nHost: a\r\n\r\n');
    expect(answer?.headers.get('allow')).toBe('POST, OPTIONS');
    connection.end();
  });

  it.each([
    ['a NUL in a header', 'POST /t/echo HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n'],
    ['a control byte in the URL', 'POST /t/ec\x01ho HTTP/1.1\r\nHost: a\r\n\r\n'],
    [
      'both Content-Length and Transfer-Encoding',
      'POST /t/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n',
    ],
    ['a negative Content-Length', 'POST /t/echo HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n'],
    ['a TLS hello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc'],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['no Host', 'POST /t/echo HTTP/1.1\r\n\r\n'],
  ])('the parser refuses %s: no handler hears of it', async (_name, bytes) => {
    heard = [];
    const connection = await RawConnection.open(port);
    connection.send(Buffer.from(bytes, 'latin1'));
    const answer = await connection.read(200);
    expect(answer === undefined || answer.status >= 400).toBe(true);
    expect(heard).toEqual([]);
    connection.end();
    await expectAlive();
  });
});

describe('Router answers problems in the format of the caller', () => {
  it('is msgpack for a msgpack request, with the same members', async () => {
    const { answer, connection } = await exchange(
      postBytes('/t/throws', [HOST, MSGPACK_TYPE, ['Content-Length', '1']], '\x80'),
    );
    expect(answer?.headers.get('content-type')).toBe('application/msgpack');
    expect(decode(answer?.body ?? Buffer.alloc(0))).toMatchObject({
      code: 'internal',
      status: 500,
      type: '/problems/internal',
    });
    connection.end();
  });

  it('follows Accept', async () => {
    const { answer, connection } = await exchange(post('/t/refuses', '{}', ['Accept', 'application/msgpack']));
    expect(decode(answer?.body ?? Buffer.alloc(0))).toMatchObject({
      code: 'limit-exceeded',
      errors: [{ pointer: '/flags', code: 'limit-exceeded', detail: 'too many' }],
    });
    connection.end();
  });
});

describe('Router survives its handlers (M12)', () => {
  it.each(['throws', 'later-throws', 'authorize-throws', 'silent', 'later-silent'])(
    '%s: 500 without any detail',
    async (name) => {
      errors.length = 0;
      const { answer, connection } = await exchange(post(`/t/${name}`));
      expect(answer?.status).toBe(500);
      expect(problemOf(answer)).toMatchObject({ code: 'internal' });
      expect(answer?.body.toString()).not.toContain('secret');
      expect(errors).toHaveLength(1);
      connection.end();
      await expectAlive();
    },
  );

  it('a handler that never answers: 503 timeout with Retry-After (M14)', async () => {
    const { answer, connection } = await exchange(post('/t/never'));
    expect(answer?.status).toBe(503);
    expect(problemOf(answer)).toMatchObject({ code: 'timeout' });
    expect(answer?.headers.get('retry-after')).toBe('1');
    connection.end();
  });

  it('a second answer is dropped', async () => {
    const { answer, connection } = await exchange(post('/t/twice'));
    expect(answer?.body.toString()).toBe('one');
    connection.send(post('/t/echo', 'next'));
    expect((await connection.read())?.body.toString()).toBe('next');
    connection.end();
  });

  it('an answer that comes later is whole, and the connection goes on', async () => {
    const { answer, connection } = await exchange(post('/t/later'));
    expect(answer?.body.toString()).toBe('late');
    connection.send(post('/t/echo', 'next'));
    expect((await connection.read())?.body.toString()).toBe('next');
    connection.end();
  });
});

describe('Router survives its clients', () => {
  const paths = [...Object.keys(handlers), 'authorize-throws'].map((name) => `/t/${name}`);

  it.each([...paths, '/nowhere'])('%s: RST right after the request, and in the middle of the body', async (path) => {
    for (let round = 0; round < 10; round += 1) {
      const whole = await RawConnection.open(port);
      whole.send(post(path, '{"a":1}'));
      await new Promise((resolve) => setImmediate(resolve));
      whole.reset();
      const cut = await RawConnection.open(port);
      cut.send(postBytes(path, [HOST, JSON_TYPE, ['Content-Length', '100']], '{"a"'));
      await new Promise((resolve) => setImmediate(resolve));
      cut.reset();
    }
    await expectAlive();
  });

  it('a body that drips, and a connection that says nothing, are closed after about 11 s (M14)', {
    timeout: 25_000,
  }, async () => {
    const silent = await RawConnection.open(port);
    const dripping = await RawConnection.open(port);
    dripping.send(postBytes('/t/echo', [HOST, JSON_TYPE, ['Content-Length', '1000']], '{'));
    const drip = setInterval(() => dripping.send(' '), 1_000);
    expect(await Promise.all([silent.closes(20_000), dripping.closes(20_000)])).toEqual([true, true]);
    clearInterval(drip);
    await expectAlive();
  });

  it('a body byte by byte is put together', async () => {
    const connection = await RawConnection.open(port);
    const body = 'slowly, but whole';
    const bytes = post('/t/echo', body);
    // The parser wants the request line in one piece (it answers 505 otherwise); everything behind it may come in any pieces.
    const lineEnd = bytes.indexOf('\r\n') + 2;
    connection.send(bytes.subarray(0, lineEnd));
    for (const byte of bytes.subarray(lineEnd)) {
      connection.send(Uint8Array.of(byte));
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    expect((await connection.read())?.body.toString()).toBe(body);
    connection.end();
  });

  it('the largest body passes, in one piece and in several', async () => {
    const body = 'x'.repeat(BODY_MAX);
    const { answer, connection } = await exchange(post('/t/echo', body));
    expect(answer?.body.length).toBe(BODY_MAX);
    connection.end();
  });

  it('answers given inline may be pipelined', async () => {
    const connection = await RawConnection.open(port);
    connection.send(Buffer.concat([post('/t/echo', 'one'), post('/t/throws'), post('/t/echo', 'three')]));
    expect((await connection.read())?.body.toString()).toBe('one');
    expect((await connection.read())?.status).toBe(500);
    expect((await connection.read())?.body.toString()).toBe('three');
    connection.end();
  });

  it('a request pipelined behind one that answers later closes the connection, and is counted', async () => {
    const before = router.counters.find(({ path }) => path === '/t/later')?.pipelined ?? 0;
    const connection = await RawConnection.open(port);
    heard = [];
    connection.send(Buffer.concat([post('/t/later'), post('/t/echo', 'behind')]));
    expect(await connection.closes()).toBe(true);
    expect(heard).toEqual([]);
    expect(router.counters.find(({ path }) => path === '/t/later')?.pipelined).toBe(before + 1);
    await expectAlive();
  });
});

describe('AnswerHead', () => {
  it('setRequestNumber() writes all digits, whatever was there before', () => {
    const head = new AnswerHead('text/plain', ['A: b']);
    const text = () => Buffer.from(head.bytes).toString();
    head.setRequestNumber(9_876_543_210);
    expect(text()).toMatch(/^text\/plain\r\nA: b\r\nX-Request-Id: req_[0-9a-f]{12}9876543210$/);
    head.setRequestNumber(7);
    expect(text()).toMatch(/0000000007$/);
  });

  it('gives each answer an id of its own', async () => {
    const connection = await RawConnection.open(port);
    connection.send(Buffer.concat([post('/t/echo', 'a'), post('/t/throws'), post('/t/echo', 'b')]));
    const ids = [await connection.read(), await connection.read(), await connection.read()].map((answer) =>
      answer?.headers.get('x-request-id'),
    );
    expect(new Set(ids).size).toBe(3);
    for (const id of ids) expect(id).toMatch(/^req_[0-9a-f]{12}\d{10}$/);
    connection.end();
  });
});

describe('Router counts', () => {
  it('each request once, by status', async () => {
    const counters = router.counters.find(({ path }) => path === '/t/refuses');
    const before = counters?.statuses.get(422) ?? 0;
    const { connection } = await exchange(post('/t/refuses'));
    connection.end();
    expect(counters?.statuses.get(422)).toBe(before + 1);
  });
});
