import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { TestControlPlane } from '../support/control-plane.js';

describe('the first start', () => {
  let plane: TestControlPlane;
  beforeAll(async () => {
    plane = await TestControlPlane.start();
  });
  afterAll(() => plane.dispose());

  test('prints a link that makes one admin, once', async () => {
    const { setupUrl = '', url } = plane.running;
    expect(setupUrl.startsWith(`${url}/setup#`)).toBe(true);
    const token = setupUrl.split('#')[1] ?? '';
    expect(Buffer.from(token, 'base64url')).toHaveLength(32);
    const complete = (body: unknown) => plane.call('POST', '/api/v1/setup', { body, token: null });
    expect((await complete({ token: `${token}x`, name: 'a' })).status).toBe(401);
    expect((await complete({ token, name: '' })).status).toBe(422);
    expect((await complete({ token, name: 'a', role: 'owner' })).status).toBe(422);
    const both = await Promise.all([complete({ token, name: 'Ada' }), complete({ token, name: 'Eve' })]);
    expect(both.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 409]);
    const admin = both.find(({ status }) => status === 201)?.body;
    expect(admin.trustRoot).toBe(plane.running.trustRoot);
    expect((await plane.call('GET', '/api/v1/tenants', { token: admin.token })).status).toBe(200);
    expect((await complete({ token, name: 'Eve' })).body.code).toBe('conflict');
  });

  test('a link that was not used is replaced at the next start, a used one never comes back', async () => {
    const unused = await TestControlPlane.start();
    const first = unused.running.setupUrl?.split('#')[1];
    await unused.stop();
    const again = await TestControlPlane.start({ directory: unused.directory });
    const second = again.running.setupUrl?.split('#')[1];
    expect(second).not.toBe(first);
    const stale = await again.call('POST', '/api/v1/setup', { token: null, body: { token: first, name: 'x' } });
    expect(stale.status).toBe(401);
    const { body } = await again.must('POST', '/api/v1/setup', { token: null, body: { token: second, name: 'x' } });
    await again.stop();
    const third = await TestControlPlane.start({ directory: unused.directory });
    expect(third.running.setupUrl).toBeUndefined();
    expect(third.running.trustRoot).toBe(unused.running.trustRoot);
    expect((await third.call('GET', '/api/v1/tenants', { token: body.token })).status).toBe(200);
    // The credential of the earlier process is gone with it.
    expect((await third.call('GET', '/api/v1/tenants', { token: unused.admin })).status).toBe(401);
    await third.dispose();
  });

  test('keys are for the owner only and no secret lies in the store in clear (I24)', async () => {
    const seed = await plane.seed('secrets');
    const made = [
      await plane.must('POST', `${seed.dev.path}/credentials`, {
        body: { kind: 'srv', name: 's' },
        headers: { 'idempotency-key': 'k' },
      }),
      await plane.must('POST', '/api/v1/node-credentials', { body: { name: 'n' } }),
    ].map(({ body }) => body.token as string);
    const tokens = [...made, seed.token, plane.admin, plane.running.setupUrl?.split('#')[1] ?? ''];
    const store = readFileSync(join(plane.directory, 'store', 'data.mdb')).toString('latin1');
    for (const token of tokens) expect(store).not.toContain(token.split('_').at(-1) ?? token);
    const directory = join(plane.directory, 'keys');
    expect(readdirSync(directory).sort()).toEqual(['key-set', 'root.pem', 'signing.pem']);
    for (const file of readdirSync(directory)) expect(statSync(join(directory, file)).mode & 0o077).toBe(0);
  });

  test('the page works under a policy without inline code', async () => {
    const page = await plane.call('GET', '/setup', { token: null });
    expect(page.headers['content-security-policy']).toContain("script-src 'self'");
    expect(page.headers['content-security-policy']).not.toContain('unsafe');
    expect(page.text).not.toMatch(/<script(?![^>]*src=)|<style| on\w+=| style=/);
    const files = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, path]) => path ?? '');
    expect(files.length).toBeGreaterThan(0);
    for (const path of files)
      expect([path, (await plane.call('GET', path, { token: null })).status]).toEqual([path, 200]);
  });
});

describe('lists', () => {
  let plane: TestControlPlane;
  let projects: string;
  const keys = Array.from({ length: 25 }, (_, index) => `p${String(index).padStart(2, '0')}`);

  beforeAll(async () => {
    plane = await TestControlPlane.start();
    const tenant = await plane.must('POST', '/api/v1/tenants', { body: { key: 't', name: 't' } });
    projects = `/api/v1/tenants/${tenant.body.id}/projects`;
    for (const key of keys) await plane.must('POST', projects, { body: { key, name: key } });
  });
  afterAll(() => plane.dispose());

  const keysOf = (body: { items: { key: string }[] }): string[] => body.items.map(({ key }) => key);

  test('show 20 by default and lead through all by cursor and Link', async () => {
    const first = await plane.must('GET', projects);
    expect(keysOf(first.body)).toEqual(keys.slice(0, 20));
    const next = /^<(.+)>; rel="next"$/.exec(String(first.headers.link))?.[1] ?? '';
    const second = await plane.must('GET', next);
    expect(keysOf(second.body)).toEqual(keys.slice(20));
    expect([second.body.nextCursor, second.headers.link]).toEqual([null, undefined]);
  });

  test('a cursor stays right when rows are made around it', async () => {
    const first = await plane.must('GET', `${projects}?limit=3`);
    await plane.must('POST', projects, { body: { key: 'p00-before', name: 'x' } });
    await plane.must('POST', projects, { body: { key: 'p02-after', name: 'x' } });
    const second = await plane.must('GET', `${projects}?limit=3&cursor=${first.body.nextCursor}`);
    expect(keysOf(first.body)).toEqual(['p00', 'p01', 'p02']);
    expect(keysOf(second.body)).toEqual(['p02-after', 'p03', 'p04']);
    const exact = await plane.must('GET', `${projects}?limit=27`);
    expect([exact.body.items.length, exact.body.nextCursor]).toEqual([27, null]);
  });

  test('a cursor that no list gave is 422', async () => {
    for (const cursor of [
      'x',
      '',
      'bnVsbA',
      Buffer.from('{"a":1}').toString('base64url'),
      Buffer.from('"\uffff"').toString('base64url'),
    ]) {
      const answer = await plane.call('GET', `${projects}?cursor=${cursor}`);
      expect([cursor, answer.status, answer.body.code]).toEqual([cursor, 422, 'validation-failed']);
    }
  });
});
