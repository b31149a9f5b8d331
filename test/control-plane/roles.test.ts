import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';

let plane: TestControlPlane;
let acme: Seed;
const tokens: Record<string, string> = {};
const BUILT_IN = ['viewer', 'editor', 'releaser', 'admin', 'owner'];

beforeAll(async () => {
  plane = await TestControlPlane.start();
  acme = await plane.seed();
  for (const role of BUILT_IN) tokens[role] = await tokenWith([role]);
  await edit('PATCH', acme.prod.path, { critical: true });
  await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('gate') });
  await plane.must('POST', `${acme.project}/flags`, { body: booleanFlag('stale') });
  await plane.must('POST', `${acme.prod.path}/segments`, { body: { key: 'beta' } });
});
afterAll(() => plane.dispose());

async function tokenWith(roles: string[]): Promise<string> {
  const { body } = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
    body: { name: roles.join(), roles },
  });
  expect(body.roles).toEqual(roles);
  return body.token;
}

const as = (role: string) => ({ token: tokens[role] ?? null });
const revisionOf = async (path: string): Promise<number> => (await plane.must('GET', path)).body.revision;

/** A change with the ETag of now. */
async function edit(
  method: string,
  path: string,
  body: unknown,
  options: { token?: string | null } = {},
): Promise<Answer> {
  const { headers } = await plane.call('GET', path);
  return plane.call(method, path, {
    ...options,
    body,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/merge-patch+json' }),
      'if-match': headers.etag ?? '"0"',
    },
  });
}

describe('roles of a credential', () => {
  test('a refusal says which action on what, and which roles are held', async () => {
    const { status, body } = await plane.call('POST', `${acme.project}/flags`, {
      body: booleanFlag('x'),
      ...as('viewer'),
    });
    expect([status, body.code]).toEqual([403, 'forbidden']);
    expect(body.detail).toBe('no role held allows flag.create on project:shop; held: viewer');
  });

  test('a viewer reads everything and writes nothing', async () => {
    for (const path of ['', '/projects', '/audit', '/roles', '/admin-credentials', '/me/permissions']) {
      expect([path, (await plane.call('GET', acme.tenant + path, as('viewer'))).status]).toEqual([path, 200]);
    }
    expect((await plane.call('GET', `${acme.tenant}/audit/export`, as('viewer'))).status).toBe(403);
    expect((await edit('PATCH', `${acme.project}`, { name: 'x' }, as('viewer'))).status).toBe(403);
  });

  test('nobody gives away more than he has (2.1)', async () => {
    const create = (role: string, roles: string[]) =>
      plane.call('POST', `${acme.tenant}/admin-credentials`, { body: { name: 'n', roles }, ...as(role) });
    expect((await create('editor', ['viewer'])).body.code).toBe('forbidden');
    const escalation = await create('admin', ['viewer', 'owner']);
    expect([escalation.status, escalation.body.code]).toEqual([403, 'privilege-escalation']);
    expect(escalation.body.errors).toMatchObject([{ pointer: '/roles/1' }]);
    expect((await create('admin', ['admin', 'editor'])).status).toBe(201);
    expect((await create('owner', ['owner'])).status).toBe(201);
    const missing = await create('owner', ['nobody']);
    expect([missing.status, missing.body.errors[0].pointer]).toEqual([422, '/roles/0']);
  });

  test('nobody gives away what a denial keeps from himself, nor rewrites that denial (2.1)', async () => {
    const roles = `${acme.tenant}/roles`;
    const statement = (effect: string) => ({ effect, actions: ['*'], resources: ['*'] });
    const denial = { effect: 'deny', actions: ['*'], resources: ['project:shop/env:prod', 'project:shop/env:prod/*'] };
    const write = (key: string, statements: object[]) =>
      plane.must('POST', roles, { body: { key, name: key, statements } });
    await write('everything', [statement('allow')]);
    await write('hands-off', [denial]);
    await write('listing', [{ effect: 'allow', actions: ['*.list'], resources: ['*'] }]);
    tokens.bound = await tokenWith(['everything', 'hands-off']);
    tokens.boundAdmin = await tokenWith(['admin', 'hands-off']);
    tokens.boundOwner = await tokenWith(['owner', 'hands-off']);
    tokens.boundEditor = await tokenWith(['admin', 'editor']);
    const attempts = [
      ['bound', ['everything'], 403],
      ['bound', ['everything', 'hands-off'], 201],
      ['bound', ['hands-off'], 201],
      ['boundAdmin', ['releaser'], 403],
      ['boundAdmin', ['releaser', 'hands-off'], 201],
      ['boundOwner', ['everything'], 201],
      ['boundEditor', ['releaser'], 403],
      ['boundEditor', ['viewer'], 201],
      ['boundEditor', ['listing'], 201],
      ['admin', ['everything'], 201],
    ] as const;
    const answers = [];
    for (const [role, given] of attempts) {
      const body = { name: 'n', roles: given };
      const made = await plane.call('POST', `${acme.tenant}/admin-credentials`, { body, ...as(role) });
      answers.push([role, given, made.status]);
      if (made.status === 403) expect(made.body).toMatchObject({ code: 'privilege-escalation' });
      const invited = await plane.call('POST', `${acme.tenant}/invitations?dryRun=true`, {
        body: { email: 'a@example.com', roles: given },
        ...as(role),
      });
      expect([role, given, invited.status]).toEqual([role, given, made.status === 403 ? 403 : 200]);
    }
    expect(answers).toEqual(attempts);
    const rewrite = (role: string) =>
      edit('PATCH', `${roles}/hands-off`, { statements: [{ ...denial, actions: ['flag.create'] }] }, as(role));
    expect((await rewrite('boundAdmin')).body.code).toBe('privilege-escalation');
    expect((await rewrite('admin')).status).toBe(200);
    expect((await rewrite('boundOwner')).status).toBe(200);
  });

  test('an admin ends no owner, and the last owner stays (2.1)', async () => {
    const other = await TestControlPlane.start();
    const seed = await other.seed();
    const list = `${seed.tenant}/admin-credentials`;
    const revoke = (id: string, token: string) =>
      other.call('POST', `${list}/${id}/revoke`, { token, headers: { 'if-match': '"1"' } });
    const [owner] = (await other.must('GET', list)).body.items;
    const admin = await other.must('POST', list, { body: { name: 'admin', roles: ['admin'] } });
    expect((await revoke(owner.id, admin.body.token)).body.code).toBe('privilege-escalation');
    const last = await revoke(owner.id, seed.token);
    expect([last.status, last.body.code]).toEqual([409, 'last-owner']);
    const second = await other.must('POST', list, { body: { name: 'second', roles: ['owner'] } });
    expect((await revoke(owner.id, second.body.token)).status).toBe(200);
    await other.dispose();
  });
});

describe('an edit that reaches further (model)', () => {
  const fallthrough = { fallthrough: { variation: 'off' } };
  /** Edits that change what the critical environment `prod` serves, wherever they are made. */
  const reaching: [name: string, run: (options: { token?: string | null }) => Promise<Answer>][] = [
    ['a value of a flag', (options) => edit('PATCH', `${acme.project}/flags/gate`, { clientSide: true }, options)],
    ['targeting', (options) => edit('PATCH', `${acme.prod.path}/flags/gate/targeting`, { on: true }, options)],
    [
      'a new flag with targeting there',
      (options) =>
        plane.call('POST', `${acme.project}/flags`, {
          body: { ...booleanFlag('started'), initialTargeting: { prod: { on: true } } },
          ...options,
        }),
    ],
    [
      'changes of the environment',
      async (options) =>
        plane.call('POST', `${acme.prod.path}/changes`, {
          body: { changes: [{ op: 'targeting.patch', flag: 'gate', patch: fallthrough }] },
          headers: { 'if-match': `"${await revisionOf(acme.prod.path)}"` },
          ...options,
        }),
    ],
    [
      'rules of a segment',
      (options) =>
        edit(
          'PATCH',
          `${acme.prod.path}/segments/beta`,
          { rules: [{ when: { attribute: 'a', op: 'in', values: ['b'] } }] },
          options,
        ),
    ],
    [
      'keys of a segment',
      (options) => plane.call('POST', `${acme.prod.path}/segments/beta/keys`, { body: { add: ['k'] }, ...options }),
    ],
    [
      'a new segment',
      (options) => plane.call('POST', `${acme.prod.path}/segments`, { body: { key: 'fresh' }, ...options }),
    ],
    ['archiving a segment', (options) => archive(`${acme.prod.path}/segments/fresh`, 'archive', options)],
    ['archiving a flag', (options) => archive(`${acme.project}/flags/stale`, 'archive', options)],
    ['taking a flag out of the archive', (options) => archive(`${acme.project}/flags/stale`, 'unarchive', options)],
  ];

  const archive = async (path: string, verb: string, options: { token?: string | null }): Promise<Answer> => {
    const { headers } = await plane.call('GET', path);
    return plane.call('POST', `${path}/${verb}`, { headers: { 'if-match': headers.etag ?? '"0"' }, ...options });
  };

  test.each(reaching)('%s: refused to an editor, and nothing moves anywhere; a releaser may', async (_name, run) => {
    const before = [await revisionOf(acme.dev.path), await revisionOf(acme.prod.path)];
    const refused = await run(as('editor'));
    expect([refused.status, refused.body.code]).toEqual([403, 'forbidden']);
    expect(refused.body.detail).toBe('the role editor denies environment.serve on project:shop/env:prod');
    expect([await revisionOf(acme.dev.path), await revisionOf(acme.prod.path)]).toEqual(before);
    const done = await run(as('releaser'));
    expect([done.status, done.text]).toEqual([expect.toSatisfy((status: number) => status < 300), done.text]);
    expect(await revisionOf(acme.prod.path)).toBe((before[1] ?? 0) + 1);
  });

  test('what changes no answer there is an editor’s: names, new flags that are off, other environments', async () => {
    const before = await revisionOf(acme.dev.path);
    const named = await edit('PATCH', `${acme.project}/flags/gate`, { name: 'Gate' }, as('editor'));
    expect(named.status).toBe(200);
    const created = await plane.call('POST', `${acme.project}/flags`, {
      body: { ...booleanFlag('quiet'), initialTargeting: { dev: { on: true } } },
      ...as('editor'),
    });
    expect(created.status).toBe(201);
    expect((await edit('PATCH', `${acme.dev.path}/flags/gate/targeting`, { on: true }, as('editor'))).status).toBe(200);
    expect(await revisionOf(acme.dev.path)).toBe(before + 2);
  });

  test('a dry run is refused alike: it shows what would be served', async () => {
    const { headers } = await plane.call('GET', `${acme.prod.path}/flags/gate/targeting`);
    const answer = await plane.call('PATCH', `${acme.prod.path}/flags/gate/targeting?dryRun=true`, {
      body: { on: false },
      headers: { 'content-type': 'application/merge-patch+json', 'if-match': headers.etag ?? '' },
      ...as('editor'),
    });
    expect(answer.status).toBe(403);
  });
});

describe('roles of a tenant', () => {
  const roles = () => `${acme.tenant}/roles`;
  const body = {
    key: 'checkout-team',
    name: 'Checkout',
    statements: [
      { effect: 'allow', actions: ['*.list', '*.read'], resources: ['*'] },
      {
        effect: 'allow',
        actions: ['flag.update', 'environment.serve'],
        resources: ['project:shop/*'],
        tags: ['checkout'],
      },
      { effect: 'allow', actions: ['environment.serve'], resources: ['project:shop/env:*'] },
    ],
  };

  test('are written, held, changed and take effect at once', async () => {
    const created = await plane.must('POST', roles(), { body, ...as('admin') });
    expect(created.body).toMatchObject({ key: 'checkout-team', isBuiltIn: false, version: 1 });
    tokens.team = await tokenWith(['checkout-team']);
    const rename = () =>
      edit('PATCH', `${acme.project}/flags/gate`, { description: String(Math.random()) }, as('team'));
    expect((await rename()).body.detail).toMatch(/no role held allows flag.update on project:shop\/flag:gate/);
    await edit('PATCH', `${acme.project}/flags/gate`, { tags: ['checkout'] });
    expect((await rename()).status).toBe(200);
    const denied = [...body.statements, { effect: 'deny', actions: ['flag.*'], resources: ['*'] }];
    expect((await edit('PATCH', `${roles()}/checkout-team`, { statements: denied })).status).toBe(200);
    expect((await rename()).body.detail).toMatch(/the role checkout-team denies/);
  });

  test('are listed beside the built-in ones', async () => {
    const { body: page } = await plane.must('GET', roles(), as('viewer'));
    const keys = page.items.map(({ key }: { key: string }) => key);
    expect([keys.slice(0, 5), keys.includes('checkout-team')]).toEqual([BUILT_IN, true]);
    expect((await plane.must('GET', `${roles()}/editor`)).body).toMatchObject({ isBuiltIn: true, version: 0 });
  });

  test('are refused when they cannot be right', async () => {
    const create = (change: object) => plane.call('POST', roles(), { body: { ...body, key: 'new', ...change } });
    expect((await create({ key: 'owner' })).status).toBe(409);
    expect((await create({ key: 'checkout-team' })).status).toBe(409);
    const bad = await create({ statements: [{ effect: 'allow', actions: ['flag'], resources: ['tenant:x'] }] });
    expect(bad.body.errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual([
      '/statements/0/actions/0',
      '/statements/0/resources/0',
    ]);
    expect((await edit('PATCH', `${roles()}/editor`, { name: 'x' })).body.code).toBe('conflict');
  });

  test('are not deleted while somebody holds them', async () => {
    const path = `${roles()}/checkout-team`;
    const used = await edit('DELETE', path, undefined);
    expect([used.status, used.body.code, used.body.errors.length]).toEqual([409, 'in-use', 1]);
    const id = used.body.errors[0].pointer.split('/').at(-1);
    await plane.must('POST', `${acme.tenant}/admin-credentials/${id}/revoke`, { headers: { 'if-match': '"1"' } });
    expect((await edit('DELETE', path, undefined)).status).toBe(204);
    expect((await plane.call('GET', path)).status).toBe(404);
  });
});

test('me/permissions tells action by action what a page may offer, and why not', async () => {
  const path = `${acme.tenant}/me/permissions?projectKey=shop&environmentKey=prod`;
  const { body } = await plane.must('GET', path, as('editor'));
  expect(body).toMatchObject({ roles: ['editor'], resource: 'project:shop/env:prod' });
  const of = (action: string) =>
    body.permissions.find((permission: { action: string }) => permission.action === action);
  expect(of('targeting.update')).toEqual({ action: 'targeting.update', isAllowed: true });
  expect(of('environment.serve')).toMatchObject({ isAllowed: false, reason: expect.stringContaining('editor denies') });
  expect(of('tenant.create')).toMatchObject({ isAllowed: false, reason: expect.stringContaining('installation') });
});
