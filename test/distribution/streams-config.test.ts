import { randomBytes } from 'node:crypto';
import { brotliDecompressSync, gunzipSync } from 'node:zlib';
import { decodeDefinition } from '@guidon/engine';
import { configFromText } from '@guidon/protocol/live-updates';
import { decodeConfigMessage } from '@guidon/protocol/msgpack';
import { type ConfigMessage, DigestTree, hashDefinition, parseManifest } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { RawConnection } from '../support/raw-http.js';
import { until } from '../support/running-node.js';
import { StreamedPlatform, type StreamedTenant } from '../support/streamed-platform.js';

/** `GET /v1/config` and the path for shared caches, through a real node and control plane: wire.md "Data plane", ecosystem 1.6. */
let platform: StreamedPlatform;
let a: StreamedTenant;
let b: StreamedTenant;

beforeAll(async () => {
  platform = await StreamedPlatform.start();
  a = await platform.addTenant('canary-a', [
    'gate',
    'other',
    ...Array.from({ length: 10 }, (_, index) => `more-${index}`),
  ]);
  b = await platform.addTenant('canary-b');
});
afterAll(() => platform.close());

const pathOf = async ({ srv }: StreamedTenant): Promise<string> =>
  (await platform.get('/v1/config', srv)).headers.get('location') ?? '';
const bytesOf = async (answer: Response): Promise<Uint8Array> => new Uint8Array(await answer.arrayBuffer());
const jsonOf = async (answer: Response): Promise<Record<string, unknown>> =>
  Object.fromEntries(Object.entries((await answer.json()) ?? {}));
const MSGPACK = { accept: 'application/msgpack', 'accept-encoding': 'identity' };

/** What a client has after `message`; the digest says whether it is everything. */
function digestAfter(message: ConfigMessage, tree = new DigestTree()): string {
  for (const [kind, key] of message.delta?.removed ?? []) tree.delete(kind, key);
  for (const bytes of message.delta?.changed ?? []) {
    const definition = decodeDefinition(bytes);
    if (!definition.ok || definition.value.kind === 'segment-keys') throw new Error('a definition of another kind');
    tree.set(definition.value.kind, definition.value.key, hashDefinition(bytes));
  }
  return tree.digest();
}

describe('GET /v1/config', () => {
  test('sends a server key to the path of its own environment, for nobody to keep', async () => {
    const answer = await platform.get('/v1/config?since=1.2', a.srv);
    expect(answer.status).toBe(307);
    expect(answer.headers.get('cache-control')).toBe('private, no-store');
    expect(answer.headers.get('location')).toMatch(/^\/v1\/config\/[A-Za-z0-9_-]{22}\?since=1\.2$/);
    expect(await pathOf(a)).toBe(await pathOf(a));
    expect(await pathOf(a)).not.toBe(await pathOf(b));
  });

  test.each([
    ['no credential', '/v1/config', undefined, 401, 'invalid-credentials'],
    ['an unknown parameter', '/v1/config?x=1', 'srv', 400, 'unknown-parameter'],
    ['a key in the URL', '/v1/config?key=1', 'srv', 400, 'credential-in-url'],
    ['a client key', '/v1/config', 'web', 403, 'wrong-key-kind'],
    ['two of one parameter', '/v1/config?since=1.1&since=1.2', 'srv', 400, 'malformed-request'],
  ] as const)('refuses %s', async (_, path, kind, status, code) => {
    const answer = await platform.get(path, kind === undefined ? undefined : a[kind]);
    expect([answer.status, (await jsonOf(answer)).code]).toEqual([status, code]);
  });

  test('refuses a body and other methods', async () => {
    const connection = await RawConnection.open(platform.server.port);
    connection.send(
      `GET /v1/config HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${a.srv}\r\nContent-Length: 2\r\n\r\nhi`,
    );
    expect((await connection.read())?.status).toBe(400);
    connection.end();
    const posted = await fetch(`${platform.server.url}/v1/config`, { method: 'POST' });
    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET']);
  });
});

describe('GET /v1/config/{cacheToken}', () => {
  test('answers the signed manifest with every definition, in both formats', async () => {
    const path = await pathOf(a);
    const message = decodeConfigMessage(await bytesOf(await platform.get(path, a.srv, MSGPACK)));
    const manifest = parseManifest(message.signed.document);
    expect(manifest).toMatchObject({
      environmentId: a.environmentId,
      revision: await platform.revision(a.environment),
    });
    expect([message.previousRevision, digestAfter(message)]).toEqual([0, manifest.digest]);
    const json = configFromText(await jsonOf(await platform.get(path, a.srv)));
    expect(Buffer.from(json.signed.signature)).toEqual(Buffer.from(message.signed.signature));
    expect(digestAfter(json)).toBe(manifest.digest);
  });

  test('has the headers of a shared cache', async () => {
    const { headers } = await platform.get(await pathOf(a), a.srv);
    expect(headers.get('cache-control')).toBe('public, max-age=5, stale-while-revalidate=30, stale-if-error=86400');
    expect(headers.get('cdn-cache-control')).toBe(headers.get('cache-control'));
    expect(headers.get('surrogate-key')).toBe(`env-${a.environmentId}`);
    expect(headers.get('vary')).toBe('Accept, Accept-Encoding');
    expect(headers.get('etag')).toMatch(/^"/);
  });

  test('gives a delta from a revision it remembers, the whole from any other', async () => {
    const path = await pathOf(a);
    const whole = decodeConfigMessage(await bytesOf(await platform.get(path, a.srv, MSGPACK)));
    const { epoch, revision } = parseManifest(whole.signed.document);
    const tree = new DigestTree();
    digestAfter(whole, tree);
    await platform.change(a, 'gate', { on: true });
    await platform.change(a, 'other', { on: true });
    await platform.untilServed(a);
    const delta = decodeConfigMessage(
      await bytesOf(await platform.get(`${path}?since=${epoch}.${revision}`, a.srv, MSGPACK)),
    );
    expect([delta.previousRevision, delta.delta?.changed.length]).toEqual([revision, 2]);
    expect(digestAfter(delta, tree)).toBe(parseManifest(delta.signed.document).digest);
    for (const since of [`${epoch}.1`, `${epoch - 1}.${revision}`]) {
      const other = decodeConfigMessage(await bytesOf(await platform.get(`${path}?since=${since}`, a.srv, MSGPACK)));
      expect(other.previousRevision).toBe(0);
    }
    const ahead = await platform.get(`${path}?since=${epoch}.${revision + 3}`, a.srv);
    expect([ahead.status, (await jsonOf(ahead)).code]).toEqual([409, 'revision-ahead']);
    expect(ahead.headers.get('cache-control')).toBe('no-store');
    const malformed = await platform.get(`${path}?since=two`, a.srv);
    expect(malformed.status).toBe(422);
    expect(await jsonOf(malformed)).toMatchObject({ errors: [{ pointer: '/since' }] });
  });

  test('has another strong ETag for each sequence of bytes, and answers 304 to it alone', async () => {
    const path = await pathOf(a);
    const etags = new Map<string, Uint8Array>();
    for (const accept of ['application/json', 'application/msgpack']) {
      for (const encoding of ['identity', 'gzip', 'br']) {
        const answer = await platform.get(path, a.srv, { accept, 'accept-encoding': encoding });
        const etag = answer.headers.get('etag') ?? '';
        expect(etags.has(etag)).toBe(false);
        etags.set(etag, await bytesOf(answer));
        const again = await platform.get(path, a.srv, {
          accept,
          'accept-encoding': encoding,
          'if-none-match': `"x", W/${etag}`,
        });
        expect([again.status, again.headers.get('etag'), (await bytesOf(again)).length]).toEqual([304, etag, 0]);
        expect(again.headers.get('surrogate-key')).toBe(`env-${a.environmentId}`);
        const changed = await platform.get(path, a.srv, {
          accept,
          'accept-encoding': encoding,
          'if-none-match': '"x"',
        });
        expect(changed.status).toBe(200);
      }
    }
  });

  test('sends what it has compressed, as Accept-Encoding says', async () => {
    const path = await pathOf(a);
    const raw = async (encoding: string) => {
      const connection = await RawConnection.open(platform.server.port);
      connection.send(
        `GET ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${a.srv}\r\nAccept: application/json\r\nAccept-Encoding: ${encoding}\r\n\r\n`,
      );
      const answer = await connection.read();
      connection.end();
      if (answer === undefined) throw new Error('no answer');
      return answer;
    };
    const plain = await raw('identity');
    expect(plain.headers.has('content-encoding')).toBe(false);
    const [gzipped, brotli, refused] = [await raw('gzip'), await raw('gzip, br'), await raw('br;q=0, gzip;q=0')];
    expect([gzipped.headers.get('content-encoding'), brotli.headers.get('content-encoding')]).toEqual(['gzip', 'br']);
    expect(refused.headers.has('content-encoding')).toBe(false);
    expect(gunzipSync(gzipped.body)).toEqual(plain.body);
    expect(brotliDecompressSync(brotli.body)).toEqual(plain.body);
    expect(brotli.body.length).toBeLessThan(plain.body.length);
  });

  test('a path and a key of two environments are answered as no path at all, and nothing of one goes to the other (I16)', async () => {
    const [pathA, pathB] = [await pathOf(a), await pathOf(b)];
    const foreign = await platform.get(pathB, a.srv);
    const absent = await platform.get(`/v1/config/${randomBytes(16).toString('base64url')}`, a.srv);
    expect([foreign.status, absent.status]).toEqual([404, 404]);
    const [body, otherBody] = [await jsonOf(foreign), await jsonOf(absent)];
    expect({ ...body, instance: '', requestId: '' }).toEqual({ ...otherBody, instance: '', requestId: '' });
    expect((await platform.get(pathA, a.web)).status).toBe(403);
    expect((await platform.get(pathA)).status).toBe(401);
    for (const [path, key, canary] of [
      [pathA, a.srv, 'canary-b'],
      [pathB, b.srv, 'canary-a'],
    ] as const) {
      expect(await (await platform.get(path, key)).text()).not.toContain(canary);
    }
  });

  test('a revoked server key takes the path with it; a revoked client key does not', async () => {
    const c = await platform.addTenant('canary-c');
    const before = await pathOf(c);
    await platform.revoke(c, c.web);
    await until('the client key is refused', async () => (await platform.get('/v1/config', c.web)).status === 401);
    expect(await pathOf(c)).toBe(before);
    const second = await platform.plane.must('POST', `${c.environment}/credentials`, {
      body: { kind: 'srv', name: 's' },
    });
    await until('the second key', async () => (await platform.get('/v1/config', second.body.token)).status === 307);
    expect(await pathOf({ ...c, srv: second.body.token })).toBe(before);
    await platform.revoke(c, c.srv);
    await until('the key is refused', async () => (await platform.get(before, c.srv)).status === 401);
    const after = await pathOf({ ...c, srv: second.body.token });
    expect(after).not.toBe(before);
    expect((await platform.get(before, second.body.token)).status).toBe(404);
    expect((await platform.get(after, second.body.token)).status).toBe(200);
  });
});
