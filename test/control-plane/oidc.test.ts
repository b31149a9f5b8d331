import { generateKeyPairSync } from 'node:crypto';
import { assertOidcOptions } from '@guidon/control-plane/oidc/oidc-client.js';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { ADA, Browser, setUpAda } from '../support/browser.js';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';
import { ForgingProvider, hmacWith, rsaWith, type TokenParts } from '../support/forging-provider.js';
import { OidcProviderProcess } from '../support/oidc-provider-process.js';

const CALLBACK = '/api/v1/login/oidc/callback';
const CLIENT = { clientId: 'guidon', clientSecret: 'a secret of the client, planted' } as const;

const brief = ({ status, body }: Answer) => [status, body?.code];
const pathOf = (url: URL): string => url.pathname + url.search;

async function begin(browser: Browser, body: object = {}, path = '/api/v1/login/oidc'): Promise<URL> {
  const answer = await browser.call('POST', path, { body });
  expect([answer.status, answer.body?.detail]).toEqual([200, undefined]);
  return new URL(answer.body.authorizationUrl);
}

async function inviteTo(plane: TestControlPlane, seed: Seed, email: string): Promise<string> {
  const { body } = await plane.must('POST', `${seed.tenant}/invitations`, { body: { email, roles: ['viewer'] } });
  return body.link.split('#')[1];
}

describe('logging in through a real provider', () => {
  let provider: OidcProviderProcess;
  let plane: TestControlPlane;
  let acme: Seed;
  let tick = 0;

  beforeAll(async () => {
    provider = await OidcProviderProcess.start();
    const oidc = { issuer: provider.issuer, ...CLIENT };
    plane = await TestControlPlane.start({ oidc, monotonicNow: () => tick });
    await provider.serve({ ...CLIENT, redirectUri: `${plane.running.url}${CALLBACK}` });
    acme = await plane.seed();
    await setUpAda(plane);
  });
  afterAll(async () => {
    await plane?.dispose();
    await provider?.stop();
  });

  /** The whole way; answers what the callback answers. */
  async function logIn(browser: Browser, account: string, body: object = {}): Promise<Answer> {
    const url = await begin(browser, body);
    return browser.call('GET', pathOf(await provider.logIn(url.href, account)));
  }

  test('asks with state, nonce and PKCE, each new, in a cookie that no other browser has', async () => {
    const browser = new Browser(plane);
    const [first, second] = [await begin(browser), await begin(browser)];
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(first.searchParams.get(name)).toMatch(/^[\w-]{43}$/);
      expect(first.searchParams.get(name)).not.toBe(second.searchParams.get(name));
    }
    expect(first.searchParams.get('code_challenge_method')).toBe('S256');
    expect(first.href + JSON.stringify([...browser.cookies])).not.toContain('secret');
  });

  test('makes an account of an invitation, and finds it again by issuer and subject', async () => {
    const browser = new Browser(plane);
    const invitation = await inviteTo(plane, acme, 'grace@example.com');
    const accepted = await logIn(browser, 'grace:verified', { invitation });
    expect([accepted.status, accepted.headers.location]).toEqual([303, '/login']);
    const { person } = (await browser.call('GET', '/api/v1/me')).body;
    expect(person).toMatchObject({ name: 'grace', email: 'grace@example.com', hasPassword: false });
    expect((await browser.call('GET', acme.project)).status).toBe(200);
    const again = new Browser(plane);
    expect((await logIn(again, 'grace:verified')).status).toBe(303);
    expect((await again.call('GET', '/api/v1/me')).body.person.id).toBe(person.id);
    // Without a password there is none to guess.
    expect(brief(await new Browser(plane).login('grace@example.com', ''))).toEqual([401, 'invalid-credentials']);
    // Disabled here is out, whatever the provider says.
    const options = { body: { isDisabled: true }, headers: { 'if-match': `"${person.version}"` } };
    await plane.must('PATCH', `/api/v1/people/${person.id}`, options);
    expect(brief(await logIn(new Browser(plane), 'grace:verified'))).toEqual([401, 'oidc-failed']);
  });

  test('knows nobody by email: an unknown identity with a known address is nobody (2.1)', async () => {
    const browser = new Browser(plane);
    expect(brief(await logIn(browser, 'ada:verified'))).toEqual([401, 'oidc-failed']);
    expect((await browser.call('GET', '/api/v1/me')).status).toBe(401);
    const invitation = await inviteTo(plane, acme, ADA.email);
    expect(brief(await logIn(browser, 'ada:verified', { invitation }))).toEqual([409, 'conflict']);
  });

  test('accepts an invitation for a verified address alone, and for the one that was invited', async () => {
    const invitation = await inviteTo(plane, acme, 'edsger@example.com');
    for (const account of ['edsger:unverified', 'other:verified'])
      expect(brief(await logIn(new Browser(plane), account, { invitation }))).toEqual([401, 'oidc-failed']);
    expect((await logIn(new Browser(plane), 'edsger:verified', { invitation })).status).toBe(303);
    const used = await new Browser(plane).call('POST', '/api/v1/login/oidc', { body: { invitation } });
    expect(brief(used)).toEqual([401, 'invalid-credentials']);
  });

  test('links an identity to who has logged in, and to nobody else', async () => {
    const ada = new Browser(plane);
    await ada.login(ADA.email, ADA.password);
    const start = async () => provider.logIn((await begin(ada, {}, '/api/v1/me/identities')).href, 'ada:unverified');
    const back = await start();
    await ada.call('POST', '/api/v1/logout');
    expect(brief(await ada.call('GET', pathOf(back)))).toEqual([401, 'oidc-failed']);
    await ada.login(ADA.email, ADA.password);
    expect((await ada.call('GET', pathOf(await start()))).status).toBe(303);
    const browser = new Browser(plane);
    expect((await logIn(browser, 'ada:unverified')).status).toBe(303);
    expect((await browser.call('GET', '/api/v1/me')).body.person.email).toBe(ADA.email);
    // Somebody else's stays somebody else's.
    const invitation = await inviteTo(plane, acme, 'barbara@example.com');
    const barbara = new Browser(plane);
    await logIn(barbara, 'barbara:verified', { invitation });
    await barbara.call('GET', '/api/v1/me');
    const url = await begin(barbara, {}, '/api/v1/me/identities');
    const taken = await barbara.call('GET', pathOf(await provider.logIn(url.href, 'ada:unverified')));
    expect(brief(taken)).toEqual([409, 'conflict']);
  });

  test('what comes back wrong is 401 oidc-failed, and nobody is logged in (2.1)', async () => {
    /** The way back with one parameter changed, or left out. */
    const changed = (back: URL, name: string, value?: string): string => {
      if (value === undefined) back.searchParams.delete(name);
      else back.searchParams.set(name, value);
      return pathOf(back);
    };
    const get = (browser: Browser, path: string) => browser.call('GET', path);
    const spoil: [name: string, run: (browser: Browser, back: URL) => Promise<Answer>][] = [
      ['another state', (browser, back) => get(browser, changed(back, 'state', 'x'))],
      ['no state', (browser, back) => get(browser, changed(back, 'state'))],
      ['another code', (browser, back) => get(browser, changed(back, 'code', 'x'))],
      ['another issuer (mix-up)', (browser, back) => get(browser, changed(back, 'iss', 'https://evil.example'))],
      ['no issuer', (browser, back) => get(browser, changed(back, 'iss'))],
      ['an error', (browser) => get(browser, `${CALLBACK}?error=access_denied&state=x`)],
      ['nothing', (browser) => get(browser, CALLBACK)],
      ['another browser', (_, back) => get(new Browser(plane), pathOf(back))],
      [
        'the cookie of another login, so another nonce and PKCE verifier',
        async (browser, back) => {
          const { searchParams } = await begin(browser);
          return get(browser, changed(back, 'state', searchParams.get('state') ?? ''));
        },
      ],
      [
        'too late',
        (browser, back) => {
          tick += 600_000;
          return get(browser, pathOf(back));
        },
      ],
    ];
    for (const [name, run] of spoil) {
      const browser = new Browser(plane);
      const back = await provider.logIn((await begin(browser)).href, 'ada:unverified');
      const answer = await run(browser, back);
      expect([name, ...brief(answer)]).toEqual([name, 401, 'oidc-failed']);
      expect([name, browser.cookies.has('guidon')]).toEqual([name, false]);
    }
  });

  test('a login that came back once does not come back twice', async () => {
    const browser = new Browser(plane);
    const back = await provider.logIn((await begin(browser)).href, 'ada:unverified');
    const cookie = browser.cookie;
    expect((await browser.call('GET', pathOf(back))).status).toBe(303);
    expect(browser.cookies.has('guidon-login')).toBe(false);
    const replay = await plane.call('GET', pathOf(back), { token: null, headers: { cookie } });
    expect(brief(replay)).toEqual([401, 'oidc-failed']);
  });

  test('a page of another site cannot begin one', async () => {
    const headers = { 'sec-fetch-site': 'cross-site' };
    const answer = await new Browser(plane).call('POST', '/api/v1/login/oidc', { body: {}, headers });
    expect(brief(answer)).toEqual([403, 'csrf']);
  });

  test('when the provider is down the answer is oidc-failed; passwords go on', async () => {
    const gone = await OidcProviderProcess.start();
    const lone = await TestControlPlane.start({ oidc: { issuer: gone.issuer, ...CLIENT } });
    await gone.stop();
    await setUpAda(lone);
    const browser = new Browser(lone);
    expect(brief(await browser.call('POST', '/api/v1/login/oidc', { body: {} }))).toEqual([401, 'oidc-failed']);
    expect((await browser.login(ADA.email, ADA.password)).status).toBe(200);
    await lone.dispose();
  });

  test('without a provider configured there is nothing', async () => {
    const lone = await TestControlPlane.start();
    const answers = [
      await new Browser(lone).call('POST', '/api/v1/login/oidc', { body: {} }),
      await new Browser(lone).call('GET', CALLBACK),
    ];
    for (const answer of answers) expect(brief(answer)).toEqual([404, 'not-found']);
    await lone.dispose();
  });
});

describe('forged ID tokens (2.1)', () => {
  let provider: ForgingProvider;
  let plane: TestControlPlane;
  let invitation: string;

  beforeAll(async () => {
    provider = await ForgingProvider.start(CLIENT.clientId);
    plane = await TestControlPlane.start({ oidc: { issuer: provider.issuer, ...CLIENT } });
    invitation = await inviteTo(plane, await plane.seed(), 'invited@example.com');
  });
  afterAll(async () => {
    await plane?.dispose();
    await provider?.stop();
  });
  beforeEach(() => {
    provider.forge = () => {};
  });

  async function logIn(browser: Browser): Promise<Answer> {
    const url = await begin(browser, { invitation });
    provider.nonce = url.searchParams.get('nonce') ?? '';
    const parameters = new URLSearchParams({
      code: 'c',
      state: url.searchParams.get('state') ?? '',
      iss: provider.issuer,
    });
    return browser.call('GET', `${CALLBACK}?${parameters.toString()}`);
  }

  const other = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const publicPem = (): string => provider.key.publicKey.export({ format: 'pem', type: 'spki' }).toString();
  const claim =
    (change: object) =>
    ({ claims }: TokenParts): void =>
      void Object.assign(claims, change);
  const without =
    (name: string) =>
    ({ claims }: TokenParts): void =>
      void Reflect.deleteProperty(claims, name);
  const signedBy =
    (sign: TokenParts['sign'], header: object = {}) =>
    (parts: TokenParts): void =>
      void Object.assign(parts, { sign, header: { ...parts.header, ...header } });
  const honest: TokenParts['sign'] = (input) => rsaWith(provider.key.privateKey)(input);
  const nothing = (): Buffer => Buffer.alloc(0);
  const table: [name: string, forge: (parts: TokenParts) => void][] = [
    ['another issuer', claim({ iss: 'https://evil.example' })],
    ['no issuer', without('iss')],
    ['another audience', claim({ aud: 'another client' })],
    ['an audience of many for another party', claim({ aud: ['guidon', 'x'], azp: 'x' })],
    ['another nonce', claim({ nonce: 'x' })],
    ['no nonce', without('nonce')],
    ['an end in the past', claim({ exp: Math.floor(Date.now() / 1_000) - 60 })],
    ['no end', without('exp')],
    ['no subject', without('sub')],
    ['an address that is not verified', claim({ email_verified: false })],
    ['an address verified by a word', claim({ email_verified: 'true' })],
    ['another key', signedBy(rsaWith(other.privateKey))],
    ['a signature of something else', signedBy((input) => honest(`${input}x`))],
    ['no signature', signedBy(nothing)],
    ['alg none', signedBy(nothing, { alg: 'none' })],
    ['HS256 with the public key as its secret', signedBy((input) => hmacWith(publicPem())(input), { alg: 'HS256' })],
    ['HS256 with the client secret', signedBy(hmacWith(CLIENT.clientSecret), { alg: 'HS256' })],
    ['a critical header nobody knows', signedBy((input) => honest(input), { crit: ['x'], x: 1 })],
  ];

  test.each(table)('with %s log nobody in', async (_name, forge) => {
    provider.forge = forge;
    const browser = new Browser(plane);
    expect(brief(await logIn(browser))).toEqual([401, 'oidc-failed']);
    expect(browser.cookies.has('guidon')).toBe(false);
  });

  test('while an honest one does: the others failed for what was forged', async () => {
    const browser = new Browser(plane);
    expect((await logIn(browser)).status).toBe(303);
    expect((await browser.call('GET', '/api/v1/me')).body.person.name).toBe('Mallory');
  });
});

describe('assertOidcOptions()', () => {
  test.each([
    ['http://idp.example'],
    ['http://127.0.0.1.evil.example'],
    ['ftp://127.0.0.1'],
    ['https://user@idp.example'],
    ['https://idp.example?x=1'],
    ['idp.example'],
    [''],
  ])('refuses the issuer %s', (issuer) => {
    expect(() => assertOidcOptions({ issuer, ...CLIENT })).toThrow(/issuer/);
  });

  test('takes https anywhere and http on the loopback; asks for id and secret', () => {
    for (const issuer of ['https://idp.example/realm', 'http://127.0.0.1:1', 'http://localhost:1', 'http://[::1]:1'])
      expect(() => assertOidcOptions({ issuer, ...CLIENT })).not.toThrow();
    const issuer = 'https://idp.example';
    expect(() => assertOidcOptions({ issuer, clientId: '', clientSecret: 's' })).toThrow(/client id/);
    expect(() => assertOidcOptions({ issuer, clientId: 'c', clientSecret: '' })).toThrow(/secret/);
  });
});
