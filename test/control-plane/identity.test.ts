import { crc32 } from 'node:zlib';
import { findCredential, generateCredential } from '@guidon/protocol/signed-config';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let other: Seed;
let time = Date.now();

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => time });
  acme = await plane.seed('acme');
  other = await plane.seed('other');
});
afterAll(() => plane.dispose());

/** CRC-32 in base 62, as the last six characters of a token. */
function withCheckSum(body: string): string {
  const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
  let rest = crc32(body);
  let check = '';
  for (let count = 0; count < 6; count += 1) {
    check = `${alphabet[rest % 62]}${check}`;
    rest = Math.floor(rest / 62);
  }
  return body + check;
}

const withoutInstance = (text: string): string => text.replace(/"instance":"[^"]*"/, '');

describe('a credential that is not good', () => {
  test('missing, malformed, mistyped, unknown, wrong, revoked and expired ones get one and the same 401', async () => {
    const { body: revoked } = await plane.must('POST', `${acme.tenant}/admin-credentials`, { body: { name: 'r' } });
    await plane.must('POST', `${acme.tenant}/admin-credentials/${revoked.id}/revoke`, {
      headers: { 'if-match': '"1"' },
    });
    const { body: expiring } = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
      body: { name: 'e', notAfter: time + 60_000 },
    });
    expect((await plane.call('GET', acme.project, { token: expiring.token })).status).toBe(200);
    time += 60_000;
    const good = acme.token;
    const mistyped = `${good.slice(0, -1)}${good.endsWith('0') ? '1' : '0'}`;
    const stranger = generateCredential('adm');
    // The id of a real credential with the secret of another: only the hash tells.
    const ofOther = other.token.split('_');
    const tokens = [null, 'nonsense', mistyped, stranger.token, revoked.token, expiring.token, ofOther.join('-')];
    const answers = await Promise.all(tokens.map((token) => plane.call('GET', acme.project, { token })));
    expect(answers.map(({ status }) => status)).toEqual(tokens.map(() => 401));
    expect(new Set(answers.map(({ text }) => withoutInstance(text))).size).toBe(1);
    for (const { headers, body } of answers) {
      expect(headers['www-authenticate']).toMatch(/^Bearer /);
      expect(headers['content-type']).toMatch(/^application\/problem\+json/);
      expect(body.code).toBe('invalid-credentials');
    }
  });

  test('a credential presented as another kind is refused, also with a right check sum', async () => {
    const node = await plane.running.issueNodeCredential('n');
    const srv = await plane.must('POST', `${acme.dev.path}/credentials`, { body: { kind: 'srv', name: 's' } });
    for (const [token, kind] of [
      [node, 'adm'],
      [srv.body.token, 'adm'],
      [srv.body.token, 'web'],
      [acme.token, 'node'],
    ]) {
      const [, , ...rest] = token.split('_');
      const forged = withCheckSum(`gdn_${kind}_${rest.join('_').slice(0, -6)}`);
      expect(findCredential(forged)?.kind).toBe(kind);
      for (const path of [acme.project, '/internal/v1/digests']) {
        expect((await plane.call('GET', path, { token: forged })).status).toBe(401);
      }
    }
  });

  test('X-API-Key works like Authorization; both at once are refused', async () => {
    const headers = { 'x-api-key': acme.token };
    expect((await plane.call('GET', acme.project, { token: null, headers })).status).toBe(200);
    expect((await plane.call('GET', acme.project, { headers })).body.code).toBe('malformed-request');
  });

  test('one in the URL is refused before anything else', async () => {
    const answer = await plane.call('GET', `/api/v1/tenants?key=${acme.token}`, { token: null });
    expect([answer.status, answer.body.code]).toEqual([400, 'credential-in-url']);
    expect(answer.text).not.toContain(acme.token);
  });
});

describe('tenant isolation (I16)', () => {
  test('another tenant’s path answers the same bytes as a true miss, and the refusal is recorded', async () => {
    const paths = [
      '',
      '/projects',
      '/projects/shop',
      '/projects/shop/environments/dev',
      '/audit',
      '/admin-credentials',
    ];
    const miss = await plane.call('GET', `${acme.tenant}/projects/nothing`, { token: acme.token });
    expect(miss.status).toBe(404);
    for (const path of paths) {
      const answer = await plane.call('GET', `${other.tenant}${path}`, { token: acme.token });
      expect([path, answer.status]).toEqual([path, 404]);
      expect(withoutInstance(answer.text)).toBe(withoutInstance(miss.text));
    }
    const write = await plane.call('POST', `${other.tenant}/projects`, {
      token: acme.token,
      headers: { 'user-agent': 'a prober' },
      body: { key: 'x', name: 'x' },
    });
    expect(write.status).toBe(404);
    await expect
      .poll(async () => {
        const { body } = await plane.must('GET', `${acme.tenant}/audit?limit=100`);
        return body.items.filter((entry: { action: string }) => entry.action === 'authz.denied').length;
      })
      .toBe(paths.length + 1);
    const { body: denied } = await plane.must('GET', `${acme.tenant}/audit?action=authz.denied&limit=1`);
    expect(denied.items[0]).toMatchObject({
      requestId: expect.stringMatching(/^[0-9a-f-]{36}$/),
      from: { address: '127.0.0.1', userAgent: 'a prober' },
    });
    const foreign = await plane.must('GET', `${other.tenant}/audit?limit=100`);
    expect(foreign.text).not.toContain('authz.denied');
  });

  test('an environment of one tenant is not found below another tenant by installation admins either', async () => {
    await plane.must('POST', `${acme.tenant}/projects`, { body: { key: 'only-acme', name: 'x' } });
    expect((await plane.call('GET', `${other.tenant}/projects/only-acme`)).status).toBe(404);
  });
});

describe('kinds of credentials', () => {
  test('an SDK key may call nothing here, a node only /internal', async () => {
    const srv = await plane.must('POST', `${acme.dev.path}/credentials`, { body: { kind: 'srv', name: 's' } });
    const web = await plane.must('POST', `${acme.dev.path}/credentials`, { body: { kind: 'web', name: 'w' } });
    const node = await plane.running.issueNodeCredential('n');
    for (const token of [srv.body.token, web.body.token]) {
      for (const path of [acme.project, '/internal/v1/digests']) {
        const answer = await plane.call('GET', path, { token });
        expect([answer.status, answer.body.code]).toEqual([403, 'wrong-key-kind']);
      }
    }
    const admin = await plane.call('GET', acme.project, { token: node });
    expect([admin.status, admin.body.code]).toEqual([403, 'wrong-key-kind']);
    expect((await plane.call('GET', '/internal/v1/digests', { token: node })).status).toBe(200);
    for (const token of [acme.token, plane.admin]) {
      const answer = await plane.call('GET', '/internal/v1/digests', { token });
      expect([answer.status, answer.body.code]).toEqual([403, 'wrong-key-kind']);
    }
  });

  test('a tenant admin may not do what belongs to the installation', async () => {
    for (const [method, path] of [
      ['GET', '/api/v1/tenants'],
      ['POST', '/api/v1/tenants'],
      ['GET', '/api/v1/node-credentials'],
      ['POST', '/api/v1/node-credentials'],
      ['GET', '/api/v1/admin-credentials'],
      ['GET', '/api/v1/audit'],
    ] as const) {
      const answer = await plane.call(method, path, { token: acme.token, ...(method === 'POST' ? { body: {} } : {}) });
      expect([path, answer.status, answer.body.code]).toEqual([path, 403, 'forbidden']);
    }
  });

  test('the last credential of an installation admin cannot be revoked', async () => {
    const first = await plane.must('POST', '/api/v1/admin-credentials', { body: { name: 'a' } });
    const revoke = (id: string) =>
      plane.call('POST', `/api/v1/admin-credentials/${id}/revoke`, { headers: { 'if-match': '"1"' } });
    expect((await revoke(first.body.id)).body.code).toBe('conflict');
    const second = await plane.must('POST', '/api/v1/admin-credentials', { body: { name: 'b' } });
    const both = await Promise.all([revoke(first.body.id), revoke(second.body.id)]);
    expect(both.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, 409]);
  });
});
