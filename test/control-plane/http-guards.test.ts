import { createConnection } from 'node:net';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
});
afterAll(() => plane.dispose());

/** Sends bytes as they are; resolves with everything that came back when the server ended the connection. */
function sendRaw(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host: '127.0.0.1', port: plane.running.port }, () => socket.write(text));
    let answer = '';
    socket.setTimeout(5_000, () => socket.destroy(new Error(`no end of the answer: ${answer}`)));
    socket.on('data', (chunk) => {
      answer += chunk.toString('utf8');
    });
    socket.on('error', reject);
    socket.on('close', () => resolve(answer));
  });
}

describe('the form of a request (reliability 2.2)', () => {
  test('what is not served is 404, another method on what is served 405 with Allow', async () => {
    const nothing = await plane.call('GET', '/api/v1/nothing');
    expect([nothing.status, nothing.body.code]).toEqual([404, 'not-found']);
    const wrong = await plane.call('DELETE', acme.project);
    expect([wrong.status, wrong.body.code]).toEqual([405, 'method-not-allowed']);
    expect(wrong.headers.allow).toBe('GET, HEAD, PATCH');
  });

  test('path parts that cannot be an id or a key are a plain miss', async () => {
    for (const part of ['a%00b', '..', '%2e%2e', 'a%2Fb', '~', `${'x'.repeat(129)}`, '%EF%BF%BF']) {
      const answer = await plane.call('GET', `${acme.tenant}/projects/${part}`);
      expect([part, answer.status]).toEqual([part, 404]);
    }
    const malformed = await plane.call('GET', `${acme.tenant}/projects/%zz`);
    expect([malformed.status, malformed.body.code]).toEqual([400, 'malformed-request']);
  });

  test('a body over 1 MiB is 413, by its declared length and before it is read', async () => {
    const big = JSON.stringify({ key: 'k', name: 'x'.repeat(1024 * 1024) });
    const answer = await plane.call('POST', `${acme.tenant}/projects`, { raw: big });
    expect([answer.status, answer.body.code]).toEqual([413, 'payload-too-large']);
    const declared = await sendRaw(
      `POST ${acme.tenant}/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${acme.token}\r\n` +
        'Content-Type: application/json\r\nContent-Length: 99999999\r\n\r\n{',
    );
    expect(declared).toMatch(/^HTTP\/1\.1 413 /);
  });

  test('media types and encodings that are not accepted are 415', async () => {
    const url = `${acme.tenant}/projects`;
    for (const headers of [
      { 'content-type': 'text/plain' },
      { 'content-type': 'application/x-www-form-urlencoded' },
      { 'content-type': 'application/merge-patch+json' },
      { 'content-encoding': 'gzip' },
    ]) {
      const answer = await plane.call('POST', url, { body: { key: 'k', name: 'n' }, headers });
      expect([headers, answer.status, answer.body.code]).toEqual([headers, 415, 'unsupported-media-type']);
    }
    const patch = await plane.call('PATCH', acme.project, {
      body: {},
      headers: { 'content-type': 'application/json' },
    });
    expect(patch.status).toBe(415);
  });

  test('a body without Content-Length is 411', async () => {
    const answer = await sendRaw(
      `POST ${acme.tenant}/projects HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer ${acme.token}\r\n` +
        'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n',
    );
    expect(answer).toMatch(/^HTTP\/1\.1 411 /);
    expect(answer).toContain('"length-required"');
  });

  test('headers that are there twice, too many or too large are refused', async () => {
    const twice = await sendRaw(`GET /openapi.json HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n`);
    expect(twice).toMatch(/^HTTP\/1\.1 400 /);
    const lengths = await sendRaw(
      `POST /api/v1/setup HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}`,
    );
    expect(lengths).toMatch(/^HTTP\/1\.1 400 /);
    expect(lengths).toContain('application/problem+json');
    const many = Object.fromEntries(Array.from({ length: 70 }, (_, index) => [`x-${index}`, '1']));
    expect((await plane.call('GET', acme.project, { headers: many })).body.code).toBe('headers-too-large');
    const large = await plane.call('GET', acme.project, { headers: { 'x-large': 'x'.repeat(9 * 1024) } });
    expect([large.status, large.body.code]).toEqual([431, 'headers-too-large']);
  });

  test('a URL over 2 048 characters is 414, unknown query parameters are 400', async () => {
    const long = await plane.call('GET', `/api/v1/tenants?cursor=${'x'.repeat(2_100)}`);
    expect([long.status, long.body.code]).toEqual([414, 'uri-too-long']);
    for (const path of [`${acme.project}?x=1`, `${acme.project}?dryRun=true`, '/api/v1/tenants?limit=2&tenantId=x']) {
      const answer = await plane.call('GET', path);
      expect([path, answer.status, answer.body.code]).toEqual([path, 400, 'unknown-parameter']);
    }
    for (const limit of ['0', '101', '1.5', 'x', '-1']) {
      expect((await plane.call('GET', `/api/v1/tenants?limit=${limit}`)).status).toBe(422);
    }
  });

  test('every answer carries the security headers and no stack, path or key', async () => {
    const answers = await Promise.all([
      plane.call('GET', acme.project),
      plane.call('GET', '/nothing'),
      plane.call('GET', acme.project, { token: null }),
      plane.call('POST', `${acme.tenant}/projects`, { raw: '{' }),
    ]);
    for (const { headers, text } of answers) {
      expect(headers['x-content-type-options']).toBe('nosniff');
      expect(headers['cache-control']).toBe('no-store');
      expect(headers['content-security-policy']).toContain("default-src 'none'");
      expect(text).not.toMatch(/node_modules|\.js:|at Object|gdn_/);
    }
  });
});

describe('bodies (reliability 2.1, M18)', () => {
  test('what is not JSON in UTF-8 is 400', async () => {
    const url = `${acme.tenant}/projects`;
    for (const raw of [
      '{',
      'undefined',
      '{"key":"a",}',
      Buffer.from([0x22, 0xff, 0x22]),
      `${'['.repeat(101)}${']'.repeat(101)}`,
    ]) {
      const answer = await plane.call('POST', url, { raw });
      expect([String(raw).slice(0, 20), answer.status, answer.body.code]).toEqual([
        String(raw).slice(0, 20),
        400,
        'malformed-body',
      ]);
    }
    expect((await plane.call('POST', url, { raw: '['.repeat(1_000_000) })).status).toBe(400);
  });

  test('members that the schema does not name are 422 with a pointer each', async () => {
    const foreign = { tenantId: 'ten_x', role: 'admin', id: 'x', revision: 7, createdBy: 'me', archived: true };
    const answer = await plane.call('POST', `${acme.tenant}/projects`, { body: { key: 'a', name: 'a', ...foreign } });
    expect([answer.status, answer.body.code]).toEqual([422, 'validation-failed']);
    const pointers = answer.body.errors.map(({ pointer }: { pointer: string }) => pointer).sort();
    expect(pointers).toEqual(
      Object.keys(foreign)
        .map((name) => `/${name}`)
        .sort(),
    );
    const proto = await plane.call('POST', `${acme.tenant}/projects`, {
      raw: '{"key":"a","name":"a","__proto__":{"x":1},"a/b~c":1}',
    });
    expect(proto.status).toBe(422);
    expect(proto.body.errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual(['/__proto__', '/a~1b~0c']);
    const patched = await plane.call('PATCH', acme.project, {
      body: { tenantId: 'x' },
      headers: { 'if-match': '"1"' },
    });
    expect([patched.status, patched.body.errors[0].pointer]).toEqual([422, '/tenantId']);
  });

  test('null, empty, wrong types and absent members are 422, all at once', async () => {
    const cases: [unknown, string[]][] = [
      [null, ['']],
      [[], ['']],
      ['x', ['']],
      [{}, ['/key', '/name']],
      [{ key: null, name: null }, ['/key', '/name']],
      [{ key: '', name: '' }, ['/key', '/name']],
      [{ key: 1, name: {} }, ['/key', '/name']],
      [{ key: '-a', name: ' ' }, ['/key', '/name']],
      [{ key: 'é', name: 'x'.repeat(201) }, ['/key', '/name']],
      [{ key: 'a'.repeat(129), name: 'x' }, ['/key']],
    ];
    for (const [body, pointers] of cases) {
      const answer = await plane.call('POST', `${acme.tenant}/projects`, { body });
      expect([body, answer.status]).toEqual([body, 422]);
      expect(answer.body.errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual(pointers);
    }
  });

  test('text is stored as it came; lone surrogates are refused where they stand', async () => {
    const name = '<script>alert(1)</script> ‮ 漢 🌍 =cmd()';
    const { body } = await plane.must('POST', `${acme.tenant}/projects`, { body: { key: 'text', name } });
    expect(body.name).toBe(name);
    const pair = await plane.must('POST', `${acme.tenant}/projects`, {
      raw: '{"key":"pair","name":"a\\ud83c\\udf0d"}',
    });
    expect(pair.body.name).toBe('a🌍');
    const cases: readonly (readonly [method: string, path: string, raw: string, pointers: readonly string[]])[] = [
      ['POST', `${acme.tenant}/projects`, '{"key":"lone","name":"a\\ud800b"}', ['/name']],
      [
        'POST',
        `${acme.tenant}/projects`,
        '{"key":"lone","na\\uDFFFme":"x","name":"\\ud800"}',
        ['/na\ufffdme', '/name'],
      ],
      ['PATCH', `${acme.project}`, '{"name":"\\udc00\\ud800"}', ['/name']],
      ['POST', `${acme.project}/flags`, '{"key":"f","type":"string","tags":["a","\\ud83c"]}', ['/tags/1']],
      ['POST', `${acme.tenant}/projects`, '"\\ud800"', ['']],
      [
        'POST',
        `${acme.tenant}/projects`,
        `[${Array(300).fill('"\\ud800"').join(',')}]`,
        Array.from({ length: 100 }, (_, at) => `/${at}`),
      ],
    ];
    for (const [method, path, raw, pointers] of cases) {
      const answer = await plane.call(method, path, { raw, headers: { 'if-match': '"1"' } });
      expect([answer.status, answer.body.code], raw).toEqual([422, 'validation-failed']);
      const shown = answer.body.errors.map(({ pointer }: { pointer: string }) => pointer);
      expect([answer.body.errorCount, shown]).toEqual([pointers.length, pointers.slice(0, 20)]);
    }
  });
});
