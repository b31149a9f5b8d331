import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verdictOf } from '../support/audit-log.js';
import { booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
let time = Date.now();

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => time });
  acme = await plane.seed();
});
afterAll(() => plane.dispose());

const projects = (): string => `${acme.tenant}/projects`;
const newProject = async (key: string): Promise<string> => {
  await plane.must('POST', projects(), { body: { key, name: key } });
  return `${projects()}/${key}`;
};
const rename = (path: string, name: string, etag: string) =>
  plane.call('PATCH', path, { body: { name }, headers: { 'if-match': etag } });

describe('If-Match (I5)', () => {
  test('missing is 428, stale and weak are 412 with the current ETag, current passes once', async () => {
    const path = await newProject('if-match');
    const missing = await plane.call('PATCH', path, { body: { name: 'x' } });
    expect([missing.status, missing.body.code]).toEqual([428, 'precondition-required']);
    const any = await rename(path, 'x', '*');
    expect(any.status).toBe(428);
    for (const stale of ['"0"', 'W/"1"', '1', '"2"']) {
      const answer = await rename(path, 'x', stale);
      expect([stale, answer.status, answer.body.code, answer.body.currentEtag]).toEqual([
        stale,
        412,
        'revision-conflict',
        '"1"',
      ]);
    }
    const first = await rename(path, 'x', '"7", "1"');
    expect([first.status, first.headers.etag, first.body.version]).toEqual([200, '"2"', 2]);
    expect((await rename(path, 'y', '"1"')).status).toBe(412);
    expect((await plane.must('GET', path)).headers.etag).toBe('"2"');
  });

  test('of writers at the same time exactly one wins', async () => {
    const path = await newProject('race');
    const answers = await Promise.all(Array.from({ length: 10 }, (_, index) => rename(path, `by ${index}`, '"1"')));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([
      200,
      ...Array.from({ length: 9 }, () => 412),
    ]);
    const winner = answers.find(({ status }) => status === 200);
    expect((await plane.must('GET', path)).body).toEqual(winner?.body);
  });

  test('of creations of one key at the same time exactly one wins', async () => {
    const create = (_: unknown, index: number) =>
      plane.call('POST', projects(), { body: { key: 'same', name: `by ${index}` } });
    const answers = await Promise.all(Array.from({ length: 6 }, create));
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 409, 409, 409, 409, 409]);
  });
});

describe('PATCH', () => {
  test('merge-patch: null removes, absent keeps', async () => {
    const path = await newProject('merge');
    await plane.must('PATCH', path, { body: { description: 'text' }, headers: { 'if-match': '"1"' } });
    const removed = await plane.call('PATCH', path, { body: { name: null }, headers: { 'if-match': '"2"' } });
    expect([removed.status, removed.body.errors[0].pointer]).toEqual([422, '/name']);
    expect((await plane.must('GET', path)).body).toMatchObject({ name: 'merge', description: 'text', version: 2 });
  });

  test('json-patch honours test: a test that does not hold is 409 and changes nothing', async () => {
    const path = await newProject('json-patch');
    const patch = (operations: unknown) =>
      plane.call('PATCH', path, {
        body: operations,
        headers: { 'content-type': 'application/json-patch+json', 'if-match': '"1"' },
      });
    const replace = { op: 'replace', path: '/name', value: 'new' };
    const failing = await patch([replace, { op: 'test', path: '/description', value: 'other' }]);
    expect([failing.status, failing.body.code]).toEqual([409, 'conflict']);
    expect((await patch([{ op: 'add', path: '/tenantId', value: 'x' }])).body.errors[0].pointer).toBe('/tenantId');
    expect((await patch({ op: 'replace' })).status).toBe(422);
    expect((await patch([{ op: 'test', path: '/name', value: 'json-patch' }, replace])).body.name).toBe('new');
  });
});

describe('dryRun', () => {
  test('answers the difference and changes nothing', async () => {
    const path = await newProject('dry');
    const dry = await plane.call('PATCH', `${path}?dryRun=true`, {
      body: { name: 'new' },
      headers: { 'if-match': '"1"' },
    });
    expect(dry.status).toBe(200);
    expect(dry.body.diff).toContainEqual({ op: 'replace', pointer: '/name', before: 'dry', after: 'new' });
    expect((await plane.must('GET', path)).body).toMatchObject({ name: 'dry', version: 1 });
    const created = await plane.call('POST', `${projects()}?dryRun=true`, { body: { key: 'never', name: 'n' } });
    expect([created.status, created.body.dryRun]).toEqual([200, true]);
    expect((await plane.call('GET', `${projects()}/never`)).status).toBe(404);
    const stale = await plane.call('PATCH', `${path}?dryRun=true`, {
      body: { name: 'n' },
      headers: { 'if-match': '"9"' },
    });
    expect(stale.status).toBe(412);
  });

  test('names the revision each environment would get and leaves it where it is', async () => {
    const before = await plane.must('GET', acme.dev.path);
    const dry = await plane.must('POST', `${acme.project}/flags?dryRun=true`, { body: booleanFlag('dry') });
    const { revision } = before.body;
    expect(dry.body.environments).toContainEqual({
      environmentId: acme.dev.id,
      revision: revision + 1,
      changedDefinitions: 1,
      issues: [],
    });
    expect((await plane.must('GET', acme.dev.path)).body.revision).toBe(revision);
    // The abandoned change is not in the digest of the next one: nodes would refuse it.
    await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('real') });
    expect((await plane.must('GET', acme.dev.path)).body.revision).toBe(revision + 1);
  });
});

describe('Idempotency-Key', () => {
  const create = (key: string, idempotencyKey: string, options: { name?: string; token?: string } = {}) =>
    plane.call('POST', projects(), {
      body: { key, name: options.name ?? 'n' },
      headers: { 'idempotency-key': idempotencyKey },
      token: options.token ?? plane.admin,
    });

  test('the same request again is answered as the first time, also while it was a secret', async () => {
    const first = await create('idem', 'k1');
    const again = await create('idem', 'k1');
    expect([first.status, again.status]).toEqual([201, 201]);
    expect(again.text).toBe(first.text);
    expect([again.headers.etag, again.headers.location]).toEqual([first.headers.etag, first.headers.location]);
    expect([first.headers['idempotency-replayed'], again.headers['idempotency-replayed']]).toEqual([undefined, 'true']);
    const options = { body: { kind: 'srv', name: 's' }, headers: { 'idempotency-key': 'k-secret' } };
    const secret = await plane.must('POST', `${acme.dev.path}/credentials`, options);
    expect((await plane.must('POST', `${acme.dev.path}/credentials`, options)).body.token).toBe(secret.body.token);
  });

  test('another body or path with it is 422, another credential’s is its own', async () => {
    await create('idem-a', 'k2');
    const other = await create('idem-b', 'k2');
    expect([other.status, other.body.code]).toEqual([422, 'idempotency-mismatch']);
    expect((await create('idem-b', 'k2', { token: acme.token })).status).toBe(201);
    for (const malformed of ['', ' ', 'x'.repeat(256), 'é']) {
      expect([malformed, (await create('idem-c', malformed)).status]).toEqual([malformed, 422]);
    }
  });

  test('while the first is running the second is 409; a refused request may be tried again', async () => {
    // A flag is compiled in a worker before it is written: the others arrive meanwhile.
    const createFlag = (idempotencyKey: string) =>
      plane.call('POST', `${acme.project}/flags`, {
        body: booleanFlag('idem-run'),
        headers: { 'idempotency-key': idempotencyKey },
      });
    const answers = await Promise.all(Array.from({ length: 16 }, () => createFlag('k3')));
    const statuses = answers.map(({ status }) => status);
    expect(statuses).toContain(201);
    const refused = answers.filter(({ status }) => status !== 201).map(({ body }) => body.code);
    expect(new Set(refused)).toEqual(new Set(['idempotency-in-progress']));
    const ids = answers.filter(({ status }) => status === 201).map(({ body }) => body.id);
    expect(new Set(ids).size).toBe(1);
    expect((await createFlag('k4')).body.code).toBe('conflict');
    await plane.must('POST', `${acme.project}/flags/idem-run/archive`, { headers: { 'if-match': '"1"' } });
    expect((await createFlag('k4')).body.code).toBe('conflict');
  });

  test('is forgotten after 24 hours', async () => {
    await create('idem-old', 'k5');
    time += 24 * 3_600_000 - 1;
    expect((await create('idem-old', 'k5')).status).toBe(201);
    time += 1;
    expect((await create('idem-old', 'k5')).body.code).toBe('conflict');
  });
});

describe('archive', () => {
  test('what has open children is 409 in-use with each of them; what is archived is read, not changed', async () => {
    const path = await newProject('to-archive');
    const archive = (url: string, etag = '"1"') =>
      plane.call('POST', `${url}/archive`, { headers: { 'if-match': etag } });
    const environment = await plane.must('POST', `${path}/environments`, { body: { key: 'dev', name: 'd' } });
    const key = await plane.must('POST', `${path}/environments/dev/credentials`, { body: { kind: 'web', name: 'w' } });
    const inUse = await archive(path);
    expect([inUse.status, inUse.body.code]).toEqual([409, 'in-use']);
    expect(inUse.body.errors[0].pointer).toBe('/projects/to-archive/environments/dev');
    const stillKeys = await archive(`${path}/environments/dev`);
    expect(stillKeys.body.errors[0].pointer).toContain(key.body.id);
    await plane.must('POST', `${path}/environments/dev/credentials/${key.body.id}/revoke`, {
      headers: { 'if-match': '"1"' },
    });
    expect((await archive(`${path}/environments/dev`)).status).toBe(200);
    expect((await archive(path)).body.archived).toBe(true);
    expect((await rename(path, 'x', '"2"')).body.code).toBe('conflict');
    const refused = await plane.call('POST', `${path}/environments`, { body: { key: 'new', name: 'n' } });
    expect(refused.body.code).toBe('conflict');
    expect((await plane.must('GET', `${path}/environments/dev`)).body.id).toBe(environment.body.id);
    await plane.must('POST', `${path}/unarchive`, { headers: { 'if-match': '"2"' } });
    expect((await rename(path, 'x', '"3"')).status).toBe(200);
  });

  test('a tenant with open projects stays', async () => {
    const answer = await plane.call('POST', `${acme.tenant}/archive`, { headers: { 'if-match': '"1"' } });
    expect([answer.status, answer.body.code]).toEqual([409, 'in-use']);
  });
});

describe('audit', () => {
  test('every change left one entry in an unbroken chain, none for what was refused or dry', async () => {
    const rows: { text: string; hash: string; sequence: number; action: string; subject: string }[] = [];
    let cursor: string | null = null;
    do {
      const query: string = cursor === null ? '' : `&cursor=${cursor}`;
      const page = await plane.must('GET', `${acme.tenant}/audit?limit=100${query}`);
      rows.push(...page.body.items);
      cursor = page.body.nextCursor;
    } while (cursor !== null);
    const chain = rows.reverse();
    expect(chain.map(({ sequence }) => sequence)).toEqual(chain.map((_, index) => index + 1));
    expect(verdictOf(chain)).toMatchObject({ isSound: true, size: chain.length });
    const created = chain.filter(({ action }) => action === 'project.create').map(({ subject }) => subject);
    expect(created.filter((subject) => subject === 'projects/same')).toHaveLength(1);
    expect(created).not.toContain('projects/never');
    expect(chain.map(({ text }) => text).join()).not.toMatch(/gdn_(srv|web|adm|node)_/);
  });
});
