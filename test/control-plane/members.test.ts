import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADA, Browser, setUpAda } from '../support/browser.js';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';

const DAY = 24 * 3_600_000;
const password = 'a password of theirs';

let plane: TestControlPlane;
let acme: Seed;
let wall = Date.now();
const people: Record<string, { browser: Browser; personId: string }> = {};

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => wall });
  acme = await plane.seed();
  for (const role of ['viewer', 'editor', 'admin', 'owner']) people[role] = await join(role, [role]);
});
afterAll(() => plane.dispose());

const brief = ({ status, body }: Answer) => [status, body?.code];
const emailOf = (name: string): string => `${name}@example.com`;
const browserOf = (name: string): Browser => people[name]?.browser ?? new Browser(plane);
const personIdOf = (name: string): string => people[name]?.personId ?? '';

async function invite(email: string, roles: string[], tenant = acme.tenant): Promise<string> {
  const { body } = await plane.must('POST', `${tenant}/invitations`, { body: { email, roles } });
  return body.link.split('#')[1];
}

async function join(name: string, roles: string[]): Promise<{ browser: Browser; personId: string }> {
  const browser = new Browser(plane);
  const answer = await accept(browser, { token: await invite(emailOf(name), roles), name, password });
  expect([answer.status, answer.body.person.email]).toEqual([200, emailOf(name)]);
  return { browser, personId: answer.body.person.id };
}

const accept = (browser: Browser, body: unknown) => browser.call('POST', '/api/v1/invitations/accept', { body });

async function edit(browser: Browser, method: string, path: string, body?: unknown): Promise<Answer> {
  const { headers } = await plane.call('GET', path);
  return browser.call(method, path, {
    ...(body === undefined ? {} : { body }),
    headers: { 'if-match': headers.etag ?? '"0"' },
  });
}
const giveRoles = (by: string, to: string, roles: string[]) =>
  edit(browserOf(by), 'PATCH', `${acme.tenant}/members/${personIdOf(to)}`, { roles });

describe('an invitation', () => {
  test('makes an account with the roles it names, logs in, and works once', async () => {
    const token = await invite('New@Example.com', ['viewer']);
    const browser = new Browser(plane);
    const body = { token, name: 'New', password };
    expect((await accept(browser, { ...body, roles: ['owner'] })).status).toBe(422);
    expect((await accept(browser, { ...body, email: 'other@example.com' })).status).toBe(422);
    const answer = await accept(browser, body);
    expect(answer.body.person).toMatchObject({ name: 'New', email: 'New@Example.com', isInstallationAdmin: false });
    const { body: tenants } = await browser.call('GET', '/api/v1/me/tenants');
    expect(tenants.items).toEqual([{ tenantId: acme.tenantId, tenantKey: 'acme', name: 'acme', roles: ['viewer'] }]);
    expect((await browser.call('GET', acme.project)).status).toBe(200);
    expect(brief(await accept(new Browser(plane), body))).toEqual([401, 'invalid-credentials']);
  });

  test('used, revoked, expired and invented ones get one and the same 401', async () => {
    const revoked = await invite('r@example.com', ['viewer']);
    const { body } = await plane.must('GET', `${acme.tenant}/invitations?limit=100`);
    const { id } = body.items.find(({ email }: { email: string }) => email === 'r@example.com');
    expect((await plane.call('DELETE', `${acme.tenant}/invitations/${id}`)).status).toBe(204);
    const expired = await invite('x@example.com', ['viewer']);
    wall += 7 * DAY;
    const late = await accept(new Browser(plane), { token: expired, name: 'x', password });
    wall -= 7 * DAY;
    const good = await invite('g@example.com', ['viewer']);
    const answers = [late];
    for (const token of [revoked, 'x', '..', `${good}x`, `${good}.x`, `ten_1.inv_1.${good.split('.')[2]}`, '$.$.x'])
      answers.push(await accept(new Browser(plane), { token, name: 'x', password }));
    for (const answer of answers) expect(brief(answer)).toEqual([401, 'invalid-credentials']);
    expect(new Set(answers.map(({ body: { detail } }) => detail)).size).toBe(1);
  });

  test('accepted twice at a time makes one account', async () => {
    const token = await invite('twice@example.com', ['viewer']);
    const answers = await Promise.all(
      [1, 2].map((n) => accept(new Browser(plane), { token, name: `n${n}`, password })),
    );
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([200, expect.toBeOneOf([401, 409])]);
    const { body } = await plane.must('GET', '/api/v1/people?limit=100');
    expect(body.items.filter(({ email }: { email: string }) => email === 'twice@example.com')).toHaveLength(1);
  });

  test('of an address that somebody has is for him, when he has logged in', async () => {
    const other = await plane.seed('second');
    const token = await invite('VIEWER@example.com', ['editor'], other.tenant);
    expect(brief(await accept(new Browser(plane), { token, name: 'impostor', password }))).toEqual([409, 'conflict']);
    const stranger = await browserOf('editor').call('POST', '/api/v1/me/tenants', { body: { token } });
    expect(brief(stranger)).toEqual([403, 'forbidden']);
    expect((await browserOf('viewer').call('POST', '/api/v1/me/tenants', { body: { token } })).status).toBe(201);
    const { body } = await browserOf('viewer').call('GET', '/api/v1/me/tenants');
    expect(
      body.items.map(({ tenantKey, roles }: { tenantKey: string; roles: string[] }) => [tenantKey, roles]),
    ).toEqual([
      ['acme', ['viewer']],
      ['second', ['editor']],
    ]);
    // The roles of one tenant are none in another.
    const create = (tenant: string) =>
      browserOf('viewer').call('POST', `${tenant}/projects/shop/flags`, { body: { key: 'f', type: 'boolean' } });
    expect(brief(await create(acme.tenant))).toEqual([403, 'forbidden']);
    expect((await create(other.tenant)).status).toBe(201);
  });

  test('gives nobody more than who sends it has (2.1)', async () => {
    const send = (by: string, roles: string[]) =>
      browserOf(by).call('POST', `${acme.tenant}/invitations`, { body: { email: 'e@example.com', roles } });
    expect(brief(await send('editor', ['viewer']))).toEqual([403, 'forbidden']);
    expect(brief(await send('admin', ['owner']))).toEqual([403, 'privilege-escalation']);
    expect(brief(await send('owner', ['nobody']))).toEqual([422, 'validation-failed']);
    expect((await send('admin', ['admin'])).status).toBe(201);
    const again = await browserOf('owner').call('POST', `${acme.tenant}/invitations`, {
      body: { email: emailOf('viewer'), roles: ['viewer'] },
    });
    expect(brief(again)).toEqual([409, 'conflict']);
  });

  test('its page works under a policy without inline code', async () => {
    const page = await plane.call('GET', '/invitation', { token: null });
    expect(page.text).not.toMatch(/<script(?![^>]*src=)|<style| on\w+=| style=/);
    for (const [, path = ''] of page.text.matchAll(/(?:src|href)="([^"]+)"/g))
      expect([path, (await plane.call('GET', path, { token: null })).status]).toEqual([path, 200]);
  });
});

describe('members', () => {
  test('act as themselves: the audit log has person, session and name', async () => {
    const { body } = await browserOf('editor').call('POST', `${acme.project}/flags`, {
      body: { key: 'by-editor', type: 'boolean' },
    });
    expect(body.key).toBe('by-editor');
    const audit = await plane.must('GET', `${acme.tenant}/audit?action=flag.create&actor=${personIdOf('editor')}`);
    expect(audit.body.items[0].actor).toEqual({
      kind: 'member',
      credentialId: expect.stringMatching(/^ses_/),
      name: 'editor',
      personId: personIdOf('editor'),
    });
  });

  test('are listed to members, and are nobody’s business elsewhere', async () => {
    const { body } = await browserOf('viewer').call('GET', `${acme.tenant}/members?limit=100`);
    expect(body.items).toContainEqual(
      expect.objectContaining({ name: 'owner', email: emailOf('owner'), roles: ['owner'], isDisabled: false }),
    );
    expect(brief(await browserOf('owner').call('GET', '/api/v1/people'))).toEqual([403, 'forbidden']);
  });

  test('have to log in again when their roles change, and then have the new ones (2.1)', async () => {
    const member = await join('changing', ['viewer']);
    people.changing = member;
    const { cookie } = member.browser;
    expect((await giveRoles('owner', 'changing', ['editor'])).status).toBe(200);
    expect((await plane.call('GET', acme.project, { token: null, headers: { cookie } })).status).toBe(401);
    await member.browser.login(emailOf('changing'), password);
    const { body } = await member.browser.call('GET', `${acme.tenant}/me/permissions`);
    expect(body).toMatchObject({ roles: ['editor'], actor: { personId: member.personId } });
  });

  test('give nobody, themselves included, more than they have (2.1)', async () => {
    expect(brief(await giveRoles('editor', 'editor', ['admin']))).toEqual([403, 'forbidden']);
    expect(brief(await giveRoles('admin', 'admin', ['owner']))).toEqual([403, 'privilege-escalation']);
    expect(brief(await giveRoles('admin', 'owner', ['viewer']))).toEqual([403, 'privilege-escalation']);
    expect(brief(await edit(browserOf('admin'), 'DELETE', `${acme.tenant}/members/${personIdOf('owner')}`))).toEqual([
      403,
      'privilege-escalation',
    ]);
    expect(brief(await giveRoles('owner', 'editor', []))).toEqual([422, 'validation-failed']);
    expect(brief(await giveRoles('owner', 'editor', ['nobody']))).toEqual([422, 'validation-failed']);
  });

  test('the last owner stays, be it a person or a service account (2.1)', async () => {
    const seed = await plane.seed('owned');
    const browser = new Browser(plane);
    const accepted = await accept(browser, {
      token: await invite('boss@example.com', ['owner'], seed.tenant),
      name: 'boss',
      password,
    });
    const member = `${seed.tenant}/members/${accepted.body.person.id}`;
    const [account] = (await plane.must('GET', `${seed.tenant}/admin-credentials`)).body.items;
    const revoke = `${seed.tenant}/admin-credentials/${account.id}/revoke`;
    expect((await browser.call('POST', revoke, { headers: { 'if-match': '"1"' } })).status).toBe(200);
    for (const [method, body] of [['PATCH', { roles: ['admin'] }], ['DELETE']] as const)
      expect(brief(await edit(browser, method, member, body))).toEqual([409, 'last-owner']);
    // An own token is no other owner.
    expect((await browser.call('POST', `${seed.tenant}/me/tokens`, { body: { name: 't' } })).status).toBe(201);
    expect(brief(await edit(browser, 'DELETE', member))).toEqual([409, 'last-owner']);
    // Two owners that go at the same time do not both go.
    const second = new Browser(plane);
    const token = await invite('second-boss@example.com', ['owner'], seed.tenant);
    const other = (await accept(second, { token, name: 'second', password })).body.person.id;
    const both = await Promise.all([
      edit(browser, 'DELETE', member),
      edit(second, 'DELETE', `${seed.tenant}/members/${other}`),
    ]);
    expect(both.map(({ status }) => status).sort((a, b) => a - b)).toEqual([204, 409]);
  });

  test('who is removed or disabled is out at once, with his tokens', async () => {
    const { browser, personId } = await join('leaving', ['editor']);
    const { body: own } = await browser.call('POST', `${acme.tenant}/me/tokens`, { body: { name: 't' } });
    const asToken = () => plane.call('GET', acme.project, { token: own.token });
    expect((await asToken()).status).toBe(200);
    const disable = async (isDisabled: boolean) => {
      const { headers } = await plane.must('GET', `/api/v1/people/${personId}`);
      const options = { body: { isDisabled }, headers: { 'if-match': headers.etag ?? '' } };
      await plane.must('PATCH', `/api/v1/people/${personId}`, options);
    };
    await disable(true);
    expect([(await asToken()).status, (await browser.call('GET', acme.project)).status]).toEqual([401, 401]);
    await disable(false);
    expect((await asToken()).status).toBe(200);
    await browser.login(emailOf('leaving'), password);
    expect((await edit(browserOf('owner'), 'DELETE', `${acme.tenant}/members/${personId}`)).status).toBe(204);
    expect([(await asToken()).status, (await browser.call('GET', acme.project)).status]).toEqual([401, 401]);
    await browser.login(emailOf('leaving'), password);
    expect((await browser.call('GET', acme.project)).status).toBe(404);
    // Coming back brings no old token back.
    const token = await invite(emailOf('leaving'), ['editor']);
    expect((await browser.call('POST', '/api/v1/me/tenants', { body: { token } })).status).toBe(201);
    expect([(await browser.call('GET', acme.project)).status, (await asToken()).status]).toEqual([200, 401]);
  });

  test('a role that a member has, or an invitation promises, is not deleted', async () => {
    await plane.must('POST', `${acme.tenant}/roles`, {
      body: { key: 'team', name: 't', statements: [{ effect: 'allow', actions: ['*.read'], resources: ['*'] }] },
    });
    const { personId } = await join('teamer', ['team']);
    await invite('team@example.com', ['team']);
    const { body } = await edit(browserOf('owner'), 'DELETE', `${acme.tenant}/roles/team`);
    expect([body.code, body.errors.map(({ pointer }: { pointer: string }) => pointer)]).toEqual([
      'in-use',
      [`/members/${personId}`, expect.stringMatching(/^\/invitations\//)],
    ]);
  });

  test('count towards the tenant’s quotas', async () => {
    const seed = await plane.seed('small');
    const { headers } = await plane.must('GET', seed.tenant);
    await plane.must('PATCH', seed.tenant, {
      body: { quotas: { members: 1, invitations: 2 } },
      headers: { 'if-match': headers.etag ?? '' },
    });
    const [first, second] = [
      await invite('m1@example.com', ['viewer'], seed.tenant),
      await invite('m2@example.com', ['viewer'], seed.tenant),
    ];
    const third = await plane.call('POST', `${seed.tenant}/invitations`, {
      body: { email: 'm3@example.com', roles: ['viewer'] },
    });
    expect([...brief(third), third.body.limit]).toEqual([422, 'limit-exceeded', 'invitations']);
    expect((await accept(new Browser(plane), { token: first, name: 'm1', password })).status).toBe(200);
    const over = await accept(new Browser(plane), { token: second, name: 'm2', password });
    expect([...brief(over), over.body.limit]).toEqual([422, 'limit-exceeded', 'members']);
  });
});

describe('personal tokens', () => {
  const create = (by: string, body: object = {}) =>
    browserOf(by).call('POST', `${acme.tenant}/me/tokens`, { body: { name: 'mine', ...body } });
  const flag = (token: string, key: string) =>
    plane.call('POST', `${acme.project}/flags`, { token, body: { key, type: 'boolean' } });

  test('may what their person may, from day to day', async () => {
    people.mover = await join('mover', ['editor']);
    const { body } = await create('mover');
    expect(body).toMatchObject({ personId: personIdOf('mover'), roles: [] });
    expect((await flag(body.token, 'by-token')).status).toBe(201);
    const audit = await plane.must('GET', `${acme.tenant}/audit?action=flag.create&actor=${body.id}`);
    expect(audit.body.items[0].actor).toEqual({
      kind: 'member',
      credentialId: body.id,
      name: 'mover',
      personId: personIdOf('mover'),
    });
    await giveRoles('owner', 'mover', ['viewer']);
    expect(brief(await flag(body.token, 'too-late'))).toEqual([403, 'forbidden']);
  });

  test('are narrowed to roles, and never widened by them', async () => {
    const narrow = (await create('editor', { roles: ['viewer'] })).body.token;
    expect(brief(await flag(narrow, 'narrow'))).toEqual([403, 'forbidden']);
    expect((await plane.call('GET', acme.project, { token: narrow })).status).toBe(200);
    const wide = (await create('editor', { roles: ['owner'] })).body.token;
    const asWide = await plane.call('POST', `${acme.tenant}/projects`, { token: wide, body: { key: 'p', name: 'p' } });
    expect(brief(asWide)).toEqual([403, 'forbidden']);
    expect((await flag(wide, 'wide')).status).toBe(201);
    expect(brief(await create('editor', { roles: ['nobody'] }))).toEqual([422, 'validation-failed']);
    const ofOwner = (await create('owner', { roles: ['admin'] })).body.token;
    const give = (roles: string[]) =>
      plane.call('POST', `${acme.tenant}/admin-credentials`, { token: ofOwner, body: { name: 'n', roles } });
    expect(brief(await give(['owner']))).toEqual([403, 'privilege-escalation']);
    expect((await give(['viewer'])).status).toBe(201);
  });

  test('make no tokens, change no account and are seen by their person alone', async () => {
    const { body } = await create('admin');
    for (const [method, path] of [
      ['POST', `${acme.tenant}/me/tokens`],
      ['GET', `${acme.tenant}/me/tokens`],
      ['GET', '/api/v1/me'],
      ['DELETE', '/api/v1/me/sessions'],
    ] as const) {
      const options = { token: body.token, ...(method === 'POST' ? { body: { name: 'x' } } : {}) };
      expect([path, ...brief(await plane.call(method, path, options))]).toEqual([path, 403, 'forbidden']);
    }
    const revoke = (by: string) =>
      browserOf(by).call('POST', `${acme.tenant}/me/tokens/${body.id}/revoke`, { headers: { 'if-match': '"1"' } });
    expect(brief(await revoke('owner'))).toEqual([404, 'not-found']);
    const { body: list } = await browserOf('owner').call('GET', `${acme.tenant}/me/tokens?limit=100`);
    expect(list.items.map(({ id }: { id: string }) => id)).not.toContain(body.id);
    expect((await revoke('admin')).status).toBe(200);
    expect((await plane.call('GET', acme.project, { token: body.token })).status).toBe(401);
  });

  test('are fifty at most, also when they are asked for at once', async () => {
    people.collector = await join('collector', ['viewer']);
    for (let count = 0; count < 48; count += 1) expect((await create('collector')).status).toBe(201);
    const asked = await Promise.all(Array.from({ length: 6 }, () => create('collector')));
    expect(asked.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 201, 422, 422, 422, 422]);
    expect(brief(await create('collector'))).toEqual([422, 'limit-exceeded']);
  });

  test('are for members: an installation admin makes credentials of the installation', async () => {
    await setUpAda(plane);
    const ada = new Browser(plane);
    await ada.login(ADA.email, ADA.password);
    expect(brief(await ada.call('POST', `${acme.tenant}/me/tokens`, { body: { name: 'x' } }))).toEqual([
      403,
      'forbidden',
    ]);
    expect((await ada.call('GET', acme.project)).status).toBe(200);
  });
});
