import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ADA, Browser, setUpAda } from '../support/browser.js';
import { type Answer, type CallOptions, TestControlPlane } from '../support/control-plane.js';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

let plane: TestControlPlane;
let wall = Date.now();
let tick = 0;
/** Both clocks go on, as they do when nobody meddles. */
const pass = (ms: number): void => {
  wall += ms;
  tick += ms;
};

beforeAll(async () => {
  plane = await TestControlPlane.start({ now: () => wall, monotonicNow: () => tick });
  await setUpAda(plane);
});
afterAll(() => plane.dispose());

async function loggedIn(): Promise<Browser> {
  const browser = new Browser(plane);
  const answer = await browser.login(ADA.email, ADA.password);
  expect([answer.status, answer.body?.code]).toEqual([200, undefined]);
  return browser;
}

const statusOf = async (browser: Browser): Promise<number> => (await browser.call('GET', '/api/v1/me')).status;
/** The next use after so many minutes. It is noted by a write that no request waits for. */
async function use(browser: Browser, minutes: number): Promise<void> {
  pass(minutes * MINUTE);
  expect(await statusOf(browser)).toBe(200);
  await expect.poll(async () => (await browser.call('GET', '/api/v1/me')).body.session.seenAt).toBe(wall);
}

const brief = ({ status, body }: Answer) => [status, body?.code];
const withoutInstance = (text: string): string => text.replace(/"instance":"[^"]*"/, '');

describe('login', () => {
  test('sets a cookie that scripts cannot read, and says who one is', async () => {
    const browser = new Browser(plane);
    const answer = await browser.login('ada@example.COM', ADA.password);
    expect(answer.body).toMatchObject({
      person: { name: 'Ada', email: ADA.email, isInstallationAdmin: true, hasPassword: true },
      session: { isCurrent: true, endsAt: wall + 30 * MINUTE },
    });
    expect(answer.headers['set-cookie']).toEqual([
      expect.stringMatching(/^guidon=per_\w{26}\.[\w-]{43}; Path=\/; HttpOnly; SameSite=Lax$/),
    ]);
    expect((await browser.call('GET', '/api/v1/me')).body).toEqual(answer.body);
    expect((await browser.call('GET', '/api/v1/people')).status).toBe(200);
  });

  test('away from this machine the cookie is __Host-, Secure, and no other is read', async () => {
    const browser = new Browser(plane);
    const headers = { host: 'flags.example', origin: 'https://flags.example' };
    const answer = await browser.login(ADA.email, ADA.password, { headers });
    expect(answer.headers['set-cookie']).toEqual([
      expect.stringMatching(/^__Host-guidon=[^;]+; Path=\/; HttpOnly; SameSite=Lax; Secure$/),
    ]);
    const value = browser.cookies.get('__Host-guidon') ?? '';
    const get = (cookie: string, host: string) =>
      plane.call('GET', '/api/v1/me', { token: null, headers: { cookie, host } });
    expect((await get(`__Host-guidon=${value}`, 'flags.example')).status).toBe(200);
    expect((await get(`guidon=${value}`, 'flags.example')).status).toBe(401);
    expect((await get(`__Host-guidon=${value}`, `127.0.0.1:${plane.running.port}`)).status).toBe(401);
    expect((await get(`__Host-guidon=${value}; __Host-guidon=${value}`, 'flags.example')).status).toBe(401);
  });

  test('wrong passwords and addresses that nobody has get one and the same 401', async () => {
    const attempts = [
      await new Browser(plane).login(ADA.email, 'wrong'),
      await new Browser(plane).login('nobody@example.com', ADA.password),
      await new Browser(plane).login(ADA.email, ''),
    ];
    for (const answer of attempts) expect(brief(answer)).toEqual([401, 'invalid-credentials']);
    expect(new Set(attempts.map(({ text }) => withoutInstance(text))).size).toBe(1);
    for (const { headers } of attempts) expect(headers['set-cookie']).toBeUndefined();
  });

  test('bodies that are no login are 422, other media types 415', async () => {
    const login = (options: CallOptions) => plane.call('POST', '/api/v1/login', { token: null, ...options });
    for (const body of [
      {},
      { email: 'x', password: 'y' },
      { ...ADA, role: 'owner' },
      { ...ADA, password: 'x'.repeat(257) },
    ])
      expect(brief(await login({ body }))).toEqual([422, 'validation-failed']);
    for (const type of ['text/plain', 'application/x-www-form-urlencoded'])
      expect(brief(await login({ raw: JSON.stringify(ADA), headers: { 'content-type': type } }))).toEqual([
        415,
        'unsupported-media-type',
      ]);
  });

  test('a page of another site cannot log anybody in', async () => {
    for (const headers of [
      { 'sec-fetch-site': 'cross-site' },
      { 'sec-fetch-site': 'same-site' },
      { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' },
    ])
      expect(brief(await new Browser(plane).login(ADA.email, ADA.password, { headers }))).toEqual([403, 'csrf']);
  });

  test('logins and refused ones are in the audit log, with person, address and no password', async () => {
    const browser = await loggedIn();
    await new Browser(plane).login(ADA.email, 'a wrong secret', { headers: { 'user-agent': 'probe/1' } });
    await new Browser(plane).login('a typed secret@example.com', 'x');
    await expect
      .poll(async () => (await browser.call('GET', '/api/v1/audit?limit=100&action=session.*')).text)
      .toMatch(/session\.refused.*probe\/1|probe\/1.*session\.refused/);
    const { body, text } = await browser.call('GET', '/api/v1/audit?limit=100&action=session.*');
    const { id } = (await browser.call('GET', '/api/v1/me')).body.person;
    expect(body.items).toContainEqual(
      expect.objectContaining({
        action: 'session.create',
        actor: expect.objectContaining({ kind: 'person', personId: id, name: 'Ada' }),
        from: expect.objectContaining({ address: '127.0.0.1' }),
      }),
    );
    expect(body.items).toContainEqual(
      expect.objectContaining({
        action: 'session.refused',
        subject: `people/${id}`,
        requestId: expect.stringMatching(/./),
      }),
    );
    expect(text).not.toContain('secret');
    const ofAda = await browser.call('GET', `/api/v1/audit?limit=100&actor=${id}`);
    expect(ofAda.body.items.length).toBeGreaterThan(0);
    expect(ofAda.body.items.every(({ actor }: { actor: { personId: string } }) => actor.personId === id)).toBe(true);
  });
});

describe('a session ends', () => {
  test('when it is not used for 30 minutes; use keeps it open', async () => {
    const browser = await loggedIn();
    for (let count = 0; count < 3; count += 1) await use(browser, 29);
    pass(30 * MINUTE);
    expect(await statusOf(browser)).toBe(401);
  });

  test('after 12 hours however much it is used', async () => {
    const browser = await loggedIn();
    for (let minutes = 20; minutes < 12 * 60; minutes += 20) await use(browser, 20);
    pass(20 * MINUTE);
    expect(await statusOf(browser)).toBe(401);
  });

  test('by either clock: setting one back does not prolong it (I27)', async () => {
    const idle = await loggedIn();
    expect(await statusOf(idle)).toBe(200);
    tick += 30 * MINUTE;
    expect(await statusOf(idle)).toBe(401);
    const old = await loggedIn();
    wall -= 6 * HOUR;
    expect(await statusOf(old)).toBe(401);
    wall += 6 * HOUR;
    const jumped = await loggedIn();
    wall += 12 * HOUR;
    expect(await statusOf(jumped)).toBe(401);
  });

  test('by logging out, and cannot be used again', async () => {
    const browser = await loggedIn();
    const { cookie } = browser;
    const other = await loggedIn();
    const answer = await browser.call('POST', '/api/v1/logout');
    expect([answer.status, browser.cookies.size]).toEqual([204, 0]);
    expect((await plane.call('GET', '/api/v1/me', { token: null, headers: { cookie } })).status).toBe(401);
    expect(await statusOf(other)).toBe(200);
  });

  test('by logging in: the browser gets another one, whatever cookie it had (fixation)', async () => {
    const browser = await loggedIn();
    const before = browser.cookie;
    await browser.login(ADA.email, ADA.password);
    expect(browser.cookie).not.toBe(before);
    expect((await plane.call('GET', '/api/v1/me', { token: null, headers: { cookie: before } })).status).toBe(401);
    const victim = new Browser(plane);
    const planted = `per_${'0'.repeat(26)}.${'A'.repeat(43)}`;
    victim.cookies.set('guidon', planted);
    await victim.login(ADA.email, ADA.password);
    expect(victim.cookies.get('guidon')).not.toBe(planted);
    expect(await statusOf(victim)).toBe(200);
  });

  test('one by one or all at once', async () => {
    const [one, two, three] = [await loggedIn(), await loggedIn(), await loggedIn()];
    const { body } = await one.call('GET', '/api/v1/me/sessions');
    expect(body.items.filter(({ isCurrent }: { isCurrent: boolean }) => isCurrent)).toHaveLength(1);
    const idOfTwo = (await two.call('GET', '/api/v1/me')).body.session.id;
    expect((await one.call('DELETE', `/api/v1/me/sessions/${idOfTwo}`)).status).toBe(204);
    expect([await statusOf(one), await statusOf(two), await statusOf(three)]).toEqual([200, 401, 200]);
    expect((await one.call('DELETE', `/api/v1/me/sessions/${idOfTwo}`)).status).toBe(404);
    expect((await one.call('DELETE', '/api/v1/me/sessions')).status).toBe(204);
    expect([await statusOf(one), await statusOf(three)]).toEqual([401, 401]);
  });

  test('by a new password, but for the browser that set it, which gets another one', async () => {
    const [browser, other] = [await loggedIn(), await loggedIn()];
    const { cookie } = browser;
    const change = (body: unknown) => browser.call('POST', '/api/v1/me/password', { body });
    const password = 'another battery horse';
    expect(brief(await change({ currentPassword: 'wrong', newPassword: password }))).toEqual([
      401,
      'invalid-credentials',
    ]);
    expect(brief(await change({ currentPassword: ADA.password, newPassword: 'too short' }))).toEqual([
      422,
      'validation-failed',
    ]);
    expect((await change({ currentPassword: ADA.password, newPassword: password })).status).toBe(200);
    expect(await statusOf(other)).toBe(401);
    expect((await plane.call('GET', '/api/v1/me', { token: null, headers: { cookie } })).status).toBe(401);
    expect(await statusOf(browser)).toBe(200);
    expect(brief(await new Browser(plane).login(ADA.email, ADA.password))).toEqual([401, 'invalid-credentials']);
    expect((await change({ currentPassword: password, newPassword: ADA.password })).status).toBe(200);
  });

  test('when another right is given or taken, or the person disabled', async () => {
    const browser = await loggedIn();
    const { id } = (await browser.call('GET', '/api/v1/me')).body.person;
    const edit = async (body: unknown) => {
      const { headers } = await plane.must('GET', `/api/v1/people/${id}`);
      return plane.must('PATCH', `/api/v1/people/${id}`, { body, headers: { 'if-match': headers.etag ?? '' } });
    };
    await edit({ name: 'Ada L.' });
    expect(await statusOf(browser)).toBe(200);
    await edit({ isInstallationAdmin: false });
    expect(await statusOf(browser)).toBe(401);
    const plain = await loggedIn();
    expect(brief(await plain.call('GET', '/api/v1/people'))).toEqual([403, 'forbidden']);
    await edit({ isDisabled: true });
    expect(await statusOf(plain)).toBe(401);
    expect(brief(await new Browser(plane).login(ADA.email, ADA.password))).toEqual([401, 'invalid-credentials']);
    await edit({ isDisabled: false, isInstallationAdmin: true, name: 'Ada' });
    expect(await statusOf(plain)).toBe(401);
    expect(await statusOf(await loggedIn())).toBe(200);
  });

  test('when its person has 20 younger ones', async () => {
    const first = await loggedIn();
    for (let count = 0; count < 20; count += 1) {
      pass(1);
      await loggedIn();
    }
    expect(await statusOf(first)).toBe(401);
  });
});

describe('a write that a cookie speaks for (CSRF)', () => {
  const table: [name: string, headers: Record<string, string>, expected: 'passes' | 'csrf'][] = [
    ['a page of ours', { 'sec-fetch-site': 'same-origin' }, 'passes'],
    ['a page of ours in an older browser', { origin: 'OWN' }, 'passes'],
    ['both', { 'sec-fetch-site': 'same-origin', origin: 'OWN' }, 'passes'],
    ['neither', {}, 'csrf'],
    ['another site', { 'sec-fetch-site': 'cross-site' }, 'csrf'],
    ['another host of this site', { 'sec-fetch-site': 'same-site' }, 'csrf'],
    ['no page at all', { 'sec-fetch-site': 'none' }, 'csrf'],
    ['another origin', { origin: 'https://evil.example' }, 'csrf'],
    ['another port', { origin: 'http://127.0.0.1:1' }, 'csrf'],
    ['the same host by https', { origin: 'OWN-HTTPS' }, 'csrf'],
    ['an opaque origin', { origin: 'null' }, 'csrf'],
    ['a site that lies about one of two', { 'sec-fetch-site': 'same-origin', origin: 'https://evil.example' }, 'csrf'],
  ];

  test.each(table)('from %s', async (_name, given, expected) => {
    const browser = await loggedIn();
    const own = `127.0.0.1:${plane.running.port}`;
    const headers: Record<string, string> = { cookie: browser.cookie, 'x-csrf-token': browser.csrfToken };
    for (const [name, value] of Object.entries(given)) {
      headers[name] = value === 'OWN' ? `http://${own}` : value === 'OWN-HTTPS' ? `https://${own}` : value;
    }
    const answer = await plane.call('POST', '/api/v1/tenants?dryRun=true', {
      token: null,
      body: { key: 'x', name: 'x' },
      headers,
    });
    expect(brief(answer)).toEqual(expected === 'passes' ? [200, undefined] : [403, 'csrf']);
  });

  test('without the token, with another session’s, or with the cookie itself', async () => {
    const [browser, other] = [await loggedIn(), await loggedIn()];
    for (const token of ['', other.csrfToken, browser.cookie, `${browser.csrfToken}x`]) {
      const answer = await browser.call('POST', '/api/v1/logout', { headers: { 'x-csrf-token': token } });
      expect(brief(answer)).toEqual([403, 'csrf']);
    }
    expect(await statusOf(browser)).toBe(200);
  });

  test('a form or text is refused before its type is looked at, and its type after that', async () => {
    const browser = await loggedIn();
    const post = (headers: Record<string, string>) =>
      browser.call('POST', '/api/v1/tenants', {
        raw: '{"key":"x","name":"x"}',
        headers: { 'content-type': 'text/plain', ...headers },
      });
    expect(brief(await post({ 'x-csrf-token': '' }))).toEqual([403, 'csrf']);
    expect(brief(await post({}))).toEqual([415, 'unsupported-media-type']);
  });

  test('is not asked of reads, nor of tokens, which ignore the cookie beside them', async () => {
    const browser = await loggedIn();
    const headers = { 'sec-fetch-site': 'cross-site', 'x-csrf-token': '' };
    expect((await browser.call('GET', '/api/v1/me', { headers })).status).toBe(200);
    const byToken = await browser.call('POST', '/api/v1/tenants?dryRun=true', {
      token: plane.admin,
      body: { key: 'x', name: 'x' },
      headers,
    });
    expect(byToken.status).toBe(200);
    expect((await browser.call('GET', '/api/v1/me', { token: 'nonsense' })).status).toBe(401);
    expect((await browser.call('GET', '/api/v1/me', { headers: { authorization: 'Basic eDp5' } })).status).toBe(401);
  });
});

test('no secret of a session or person lies in the store in clear (I24)', async () => {
  const browser = await loggedIn();
  const store = readFileSync(join(plane.directory, 'store', 'data.mdb')).toString('latin1');
  const secret = browser.cookies.get('guidon')?.split('.')[1] ?? '';
  expect(secret).toHaveLength(43);
  for (const text of [ADA.password, secret, browser.csrfToken]) expect(store).not.toContain(text);
  expect(store).toContain('$argon2id$v=19$m=19456,t=2,p=1$');
});
