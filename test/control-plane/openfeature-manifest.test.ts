import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';

/** The manifest API of OpenFeature 0, held to its description (open-feature/cli, api/v0/sync.yaml). */
let plane: TestControlPlane;
let acme: Seed;
let manifest: string;
let token: string;

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed('acme');
  manifest = `${acme.project}/openfeature/v0/manifest`;
  const made = await plane.must('POST', `${acme.tenant}/admin-credentials`, { body: { name: 'cli' } });
  token = made.body.token;
});
afterAll(() => plane.dispose());

const call = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  plane.call(method, manifest + path, { token, headers, ...(body === undefined ? {} : { body }) });
const flags = async (): Promise<readonly Record<string, unknown>[]> => (await call('GET', '')).body.flags;
const flagOf = async (key: string) => (await flags()).find((flag) => flag.key === key);
const stored = async (key: string) => (await plane.must('GET', `${acme.project}/flags/${key}`)).body;

describe('POST /openfeature/v0/manifest/flags', () => {
  test.each([
    ['boolean', false, [true, false]],
    ['boolean', true, [false, true]],
    ['string', 'control', ['control']],
    ['integer', 7, [7]],
    ['float', 0.5, [0.5]],
    ['object', { a: [1, null] }, [{ a: [1, null] }]],
  ])(
    'creates a flag of type %s with the default %o, which its environments serve while it is off',
    async (type, defaultValue, values) => {
      const key = `made-${type}-${JSON.stringify(defaultValue).length}`;
      const flag = { key, type, name: `A ${type}`, description: 'é', defaultValue };
      const created = await call('POST', '/flags', flag);
      expect([created.status, created.body]).toEqual([201, { flag, updatedAt: expect.stringMatching(/^20.*Z$/) }]);
      expect(created.headers['x-manifest-capabilities']).toBe('read,write,delete');
      expect(await flagOf(key)).toEqual(flag);
      const { variations } = await stored(key);
      expect(variations.map(({ value }: { value: unknown }) => value)).toEqual(values);
      const targeting = await plane.must('GET', `${acme.project}/environments/dev/flags/${key}/targeting`);
      const off = variations.find((variation: { key: string }) => variation.key === targeting.body.offVariation);
      expect([targeting.body.on, off.value]).toEqual([false, defaultValue]);
    },
  );

  test.each([
    ['no default', { key: 'bad', type: 'string' }, 400, 'defaultValue'],
    ['a default of another type', { key: 'bad', type: 'integer', defaultValue: 0.5 }, 400, 'defaultValue'],
    ['a boolean that is a text', { key: 'bad', type: 'boolean', defaultValue: 'true' }, 400, 'defaultValue'],
    ['an object that is null', { key: 'bad', type: 'object', defaultValue: null }, 400, 'defaultValue'],
    ['an unknown type', { key: 'bad', type: 'date', defaultValue: 1 }, 400, 'type'],
    ['a key that is none', { key: 'not a key', type: 'boolean', defaultValue: true }, 400, 'key'],
    ['an unknown member', { key: 'bad', type: 'boolean', defaultValue: true, tenantId: 'x' }, 400, 'tenantId'],
    ['a list', [], 400, ''],
  ])('refuses %s', async (_, body, status, field) => {
    const answer = await call('POST', '/flags', body);
    const fields = answer.body.error.details.map((detail: { field: string }) => detail.field);
    expect([answer.status, answer.body.error.status, fields]).toEqual([
      status,
      status,
      expect.arrayContaining([field]),
    ]);
    expect(answer.body.error.message).toBe(answer.body.detail);
    expect(String(answer.headers['content-type'])).toContain('json');
    expect(await flagOf('bad')).toBeUndefined();
  });

  test('a key that is taken, also by what is archived, is 409; the same request again is the same answer', async () => {
    const body = { key: 'twice', type: 'boolean', defaultValue: false };
    const headers = { 'idempotency-key': 'once' };
    const first = await call('POST', '/flags', body, headers);
    const replayed = await call('POST', '/flags', body, headers);
    expect([first.status, replayed.status, replayed.text]).toEqual([201, 201, first.text]);
    expect((await call('POST', '/flags', body)).status).toBe(409);
    expect((await call('DELETE', '/flags/twice')).status).toBe(200);
    const archived = await call('POST', '/flags', body);
    expect([archived.status, archived.body.error.status]).toEqual([409, 409]);
  });

  test('tries without writing', async () => {
    const answer = await call('POST', '/flags?dryRun=true', { key: 'tried', type: 'boolean', defaultValue: false });
    expect([answer.status, answer.body.dryRun]).toEqual([200, true]);
    expect(await flagOf('tried')).toBeUndefined();
  });
});

describe('PUT and DELETE /openfeature/v0/manifest/flags/{key}', () => {
  test('replaces name, description and default; what is left out stays; rules stay', async () => {
    await call('POST', '/flags', { key: 'text', type: 'string', defaultValue: 'old' });
    const updated = await call('PUT', '/flags/text', {
      key: 'text',
      type: 'string',
      name: 'Text',
      defaultValue: 'new',
    });
    const flag = { key: 'text', type: 'string', name: 'Text', description: '', defaultValue: 'new' };
    expect([updated.status, updated.body.flag]).toEqual([200, flag]);
    expect(await flagOf('text')).toEqual(flag);
    const described = await call('PUT', '/flags/text', { key: 'text', type: 'string', description: 'why' });
    expect(described.body.flag).toEqual({ ...flag, description: 'why' });
    expect((await call('PUT', '/flags/text', { key: 'text', type: 'string', description: null })).body.flag).toEqual(
      flag,
    );
  });

  test('a number is an integer until one of its values is none', async () => {
    await call('POST', '/flags', { key: 'size', type: 'integer', defaultValue: 1 });
    expect((await call('PUT', '/flags/size', { key: 'size', type: 'float', defaultValue: 1.5 })).status).toBe(200);
    expect(await flagOf('size')).toMatchObject({ type: 'float', defaultValue: 1.5 });
  });

  test.each([
    ['another type', '/flags/kept', { key: 'kept', type: 'string', defaultValue: 'x' }, 409],
    ['another default of a boolean flag', '/flags/kept', { key: 'kept', type: 'boolean', defaultValue: true }, 409],
    ['another key', '/flags/kept', { key: 'other', type: 'boolean' }, 400],
    ['a flag that is not there', '/flags/nowhere', { key: 'nowhere', type: 'boolean' }, 404],
    ['a key that is none', '/flags/a%20b', { key: 'a b', type: 'boolean' }, 404],
  ])('refuses %s', async (_, path, body, status) => {
    if ((await flagOf('kept')) === undefined) {
      await call('POST', '/flags', { key: 'kept', type: 'boolean', defaultValue: false });
    }
    const answer = await call('PUT', path, body);
    expect([answer.status, answer.body.error.status]).toEqual([status, status]);
    expect((await stored('kept')).version).toBe(1);
  });

  test('archives, which takes the flag out of the manifest and keeps it from being written', async () => {
    await call('POST', '/flags', { key: 'gone', type: 'boolean', defaultValue: false });
    const archived = await call('DELETE', '/flags/gone');
    expect([archived.status, archived.body]).toEqual([
      200,
      { message: expect.stringContaining('gone'), archivedAt: expect.stringMatching(/^20.*Z$/) },
    ]);
    expect((await stored('gone')).archived).toBe(true);
    expect(await flagOf('gone')).toBeUndefined();
    expect((await call('PUT', '/flags/gone', { key: 'gone', type: 'boolean' })).status).toBe(409);
    expect((await call('DELETE', '/flags/gone')).status).toBe(409);
    expect((await call('DELETE', '/flags/nowhere')).status).toBe(404);
  });
});

describe('who may do what', () => {
  test('no token is 401, another tenant 404, and a viewer reads; each says so in both forms', async () => {
    const none = await plane.call('GET', manifest, { token: null });
    expect([none.status, none.body.error.status, none.body.code]).toEqual([401, 401, 'invalid-credentials']);
    const other = await plane.seed('other');
    const foreign = await call('GET', `/../../../../../../${other.project.split('/v1/')[1]}/openfeature/v0/manifest`);
    expect(foreign.status).toBe(404);
    const viewer = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
      body: { name: 'viewer', roles: ['viewer'] },
    });
    const asViewer = (method: string, path: string, body?: unknown) =>
      plane.call(method, manifest + path, { token: viewer.body.token, ...(body === undefined ? {} : { body }) });
    const read = await asViewer('GET', '');
    expect([read.status, read.headers['x-manifest-capabilities']]).toEqual([200, 'read']);
    const refused = await asViewer('POST', '/flags', { key: 'no', type: 'boolean', defaultValue: true });
    expect([refused.status, refused.body.error.status]).toEqual([403, 403]);
    expect(refused.body.error.message).not.toBe('');
  });

  test('the manifest of a project has no flags of another', async () => {
    await plane.must('POST', `${acme.tenant}/projects`, { body: { key: 'second', name: 'second' } });
    const second = await plane.call('GET', `${acme.tenant}/projects/second/openfeature/v0/manifest`, { token });
    expect(second.body).toEqual({ flags: [] });
    expect((await flags()).length).toBeGreaterThan(3);
  });
});
