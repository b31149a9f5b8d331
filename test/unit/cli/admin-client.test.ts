import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AdminClient } from '@guidon/cli/admin/admin-client.js';
import { refusalFrom } from '@guidon/cli/admin/refusal.js';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

describe('refusalFrom()', () => {
  const sentence = (problem: unknown): string =>
    refusalFrom('PUT http://a/b', 422, typeof problem === 'string' ? problem : JSON.stringify(problem)).message;

  it('is one sentence: code, detail, and each place with its reason', () => {
    const problem = {
      type: '/problems/validation-failed',
      status: 422,
      code: 'validation-failed',
      detail: 'The body breaks 2 rules.',
      errors: [
        { pointer: '/rules/0', code: 'validation-failed', detail: 'give it an id' },
        { pointer: '', code: 'limit-exceeded', detail: 'too long' },
        { detail: 'an issue of nowhere' },
        null,
      ],
    };
    expect(sentence(problem)).toBe(
      'PUT http://a/b was refused: 422 validation-failed: The body breaks 2 rules. (/rules/0: give it an id; the whole: too long)',
    );
    expect(refusalFrom('GET x', 409, '{"code":"in-use","detail":"d","errors":5}')).toMatchObject({
      code: 'in-use',
      message: 'GET x was refused: 409 in-use: d',
    });
  });

  it('tells a terminal nothing', () => {
    expect(sentence({ code: 'not-found', detail: '\u001b[2J\n' })).toContain('not-found: \\u001b[2J\\u000a');
  });

  it.each([
    '<html>Bad gateway</html>',
    '',
    'null',
    '5',
    '{"code":"toString","detail":"d"}',
    '{"code":"conflict"}',
    '[]',
  ])('of %j says that it is no problem document', (body) => {
    expect(refusalFrom('GET x', 502, body)).toMatchObject({
      code: 'internal',
      message: 'GET x was answered 502 without a problem document: does a control plane answer there?',
    });
  });
});

describe('AdminClient', () => {
  let server: Server;
  let url: string;
  let asked: { readonly authorization: string | undefined } | undefined;
  beforeAll(async () => {
    server = createServer((request, response) => {
      asked = { authorization: request.headers.authorization };
      if (request.url === '/refused') response.writeHead(403).end('{"code":"forbidden","detail":"not yours"}');
      else response.end(request.url === '/page' ? '<html>' : '{"items":[{"a":1}],"token":"t"}');
    });
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.close();
  });

  it('shows its credential when it has one', async () => {
    const answer = await new AdminClient(url, 'gdn_adm_x').get('/list');
    expect([answer.text('token'), answer.items().map((item) => item.get('a')), asked?.authorization]).toEqual([
      't',
      [1],
      'Bearer gdn_adm_x',
    ]);
    await new AdminClient(url).post('/open', {});
    expect(asked).toEqual({ authorization: undefined });
  });

  it('says where it asked and what came', async () => {
    const client = new AdminClient(url);
    await expect(client.get('/refused')).rejects.toMatchObject({
      code: 'forbidden',
      message: `GET ${url}/refused was refused: 403 forbidden: not yours`,
    });
    await expect(client.get('/page')).rejects.toThrow(`GET ${url}/page was answered with something that is no JSON`);
  });
});
