import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PUBLIC_OPERATIONS } from '../isolation/admin-operations.js';
import { TestControlPlane } from '../support/control-plane.js';

const byText = (a: string, b: string): number => a.localeCompare(b);

let plane: TestControlPlane;
interface Operation {
  operationId?: string;
  security?: unknown[];
  parameters?: { name: string; in: string }[];
  responses: Record<string, { content?: Record<string, { schema?: unknown }> }>;
}
let document: { openapi: string; paths: Record<string, Record<string, Operation>>; components: { schemas: object } };
let operations: { method: string; path: string; operation: Operation }[];

beforeAll(async () => {
  plane = await TestControlPlane.start();
  document = (await plane.must('GET', '/openapi.json', { token: null })).body;
  operations = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method, path, operation })),
  );
});
afterAll(() => plane.dispose());

describe('/openapi.json', () => {
  test('every operation has an id of its own, a success and error answers', () => {
    expect(document.openapi).toMatch(/^3\.1/);
    expect(operations.length).toBeGreaterThan(30);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(ids).not.toContain(undefined);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { method, path, operation } of operations) {
      const name = `${method} ${path}`;
      const statuses = Object.keys(operation.responses);
      expect([name, statuses.some((status) => /^[23]/.test(status))]).toEqual([name, true]);
      for (const status of ['400', '401', '403', '404'])
        expect([name, statuses]).toEqual([name, expect.arrayContaining([status])]);
      for (const status of statuses.filter((text) => text >= '400')) {
        const content = Object.keys(operation.responses[status]?.content ?? {});
        expect([name, status, content]).toEqual([name, status, ['application/problem+json']]);
      }
    }
  });

  test('what changes an existing thing says so: If-Match, 412 and 428', () => {
    const changing = operations.filter(
      ({ method, path }) => method === 'patch' || /\/(archive|unarchive|revoke)$/.test(path),
    );
    expect(changing.length).toBeGreaterThan(10);
    for (const { path, operation } of changing) {
      expect([path, operation.parameters?.map(({ name }) => name)]).toEqual([
        path,
        expect.arrayContaining(['If-Match']),
      ]);
      expect([path, Object.keys(operation.responses)]).toEqual([path, expect.arrayContaining(['412', '428'])]);
    }
  });

  test('what is public takes no dry run and no Idempotency-Key, and refuses to try', async () => {
    for (const { method, path, operation } of operations.filter(({ method }) => method === 'post')) {
      const names = operation.parameters?.map(({ name }) => name) ?? [];
      const isPublic = PUBLIC_OPERATIONS.includes(operation.operationId ?? '');
      expect([method, path, names.includes('Idempotency-Key')]).toEqual([method, path, !isPublic]);
      if (isPublic) expect([method, path, names]).toEqual([method, path, expect.not.arrayContaining(['dryRun'])]);
    }
    const email = 'invited@example.com';
    const { tenant } = await plane.seed();
    const { body: invitation } = await plane.must('POST', `${tenant}/invitations`, {
      body: { email, roles: ['viewer'] },
    });
    const accept = (query: string) =>
      plane.call('POST', `/api/v1/invitations/accept${query}`, {
        token: null,
        body: { token: invitation.link.split('#')[1], name: 'n', password: 'long enough to be one' },
      });
    const tried = await accept('?dryRun=true');
    expect([tried.status, tried.body.code, tried.headers['set-cookie']]).toEqual([400, 'unknown-parameter', undefined]);
    expect((await accept('')).status).toBe(200);
  });

  test('every reference leads somewhere', () => {
    const references = [...JSON.stringify(document).matchAll(/"\$ref":"([^"]+)"/g)].map(([, path]) => path ?? '');
    expect(references.length).toBeGreaterThan(0);
    for (const reference of new Set(references)) {
      const target = reference
        .split('/')
        .slice(1)
        .reduce<unknown>((value, part) => Object(value)[part], document);
      expect([reference, typeof target]).toEqual([reference, 'object']);
    }
  });

  test('needs no credential, but everything that it lists does', async () => {
    const open = operations.filter(({ operation }) => operation.security?.length === 0);
    expect(open.map(({ operation }) => operation.operationId ?? '').sort(byText)).toEqual(
      PUBLIC_OPERATIONS.toSorted(byText),
    );
    for (const { method, path, operation } of operations) {
      if (PUBLIC_OPERATIONS.includes(operation.operationId ?? '')) continue;
      const answer = await plane.call(method.toUpperCase(), path.replaceAll(/\{[^}]+\}/g, 'x'), { token: null });
      expect([method, path, answer.status]).toEqual([method, path, 401]);
    }
  });
});

describe('/docs', () => {
  test('loads scripts of this origin only, and they are there', async () => {
    const page = await plane.must('GET', '/docs', { token: null });
    expect(page.text).not.toMatch(/https?:\/\//);
    expect(page.headers['content-security-policy']).toContain("script-src 'self'; ");
    const scripts = [...page.text.matchAll(/src="([^"]+)"/g)].map(([, path]) => path ?? '');
    expect(scripts).toHaveLength(2);
    for (const path of scripts) {
      const script = await plane.must('GET', path, { token: null });
      expect(script.headers['content-type']).toMatch(/^text\/javascript/);
      expect(script.bytes.length).toBeGreaterThan(100);
    }
  });
});
