import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { signBreakGlass } from '@guidon/control-plane';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { ADA, Browser, setUpAda } from '../support/browser.js';
import { TestControlPlane } from '../support/control-plane.js';
import { OidcProviderProcess } from '../support/oidc-provider-process.js';

/**
 * I24 over everything that has to do with people: secrets are planted wherever one may come in or go out, with every log line printed; then no log,
 * no audit entry, no file and no answer but the one that hands a secret out has any of them.
 */

const CLIENT = { clientId: 'guidon', clientSecret: 'planted client secret' } as const;
let plane: TestControlPlane;
let provider: OidcProviderProcess;
let log = '';
const secrets = new Map<string, string>();

function plant(name: string, secret: string | undefined): string {
  expect([name, (secret ?? '').length > 8]).toEqual([name, true]);
  secrets.set(name, secret ?? '');
  return secret ?? '';
}

/** The 256 bits of one of our tokens, without the check sum behind them. */
const secretOf = (token: string): string => token.slice(-49, -6);

beforeAll(async () => {
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      log += chunk.toString();
      done();
    },
  });
  provider = await OidcProviderProcess.start();
  plane = await TestControlPlane.start({
    oidc: { issuer: provider.issuer, ...CLIENT },
    logger: pino({ level: 'trace' }, stream),
  });
  await provider.serve({ ...CLIENT, redirectUri: `${plane.running.url}/api/v1/login/oidc/callback` });
});
afterAll(async () => {
  await plane?.dispose();
  await provider?.stop();
});

test('no secret of anybody is in logs, audit entries, files or answers', async () => {
  plant('client secret', CLIENT.clientSecret);
  plant('setup token', plane.running.setupUrl?.split('#')[1]);
  plant('password', ADA.password);
  plant('setup credential', secretOf((await setUpAda(plane)).body.token));
  const ada = new Browser(plane);
  await ada.login(ADA.email, plant('wrong password', 'planted wrong password'));
  await ada.login(plant('password typed as address', 'planted@typed.password'), 'x');
  await ada.call('POST', '/api/v1/login', {
    raw: `{"email": "a@b", "password": "${plant('half a body', 'planted half')}`,
    headers: { 'content-type': 'application/json' },
  });
  await ada.login(ADA.email, ADA.password);
  plant('session', ada.cookies.get('guidon')?.split('.')[1]);
  plant('CSRF token', ada.csrfToken);
  await ada.call('POST', '/api/v1/tenants', {
    headers: { 'x-csrf-token': plant('wrong CSRF token', 'planted CSRF token') },
    body: {},
  });
  await ada.call('GET', '/api/v1/me', {
    headers: { cookie: `guidon=per_1.${plant('wrong session', 'P'.repeat(43))}` },
  });
  await ada.call('GET', '/api/v1/me', {
    headers: { authorization: `Bearer ${plant('wrong token', 'gdn_adm_planted_token')}` },
  });
  const change = { currentPassword: ADA.password, newPassword: plant('new password', 'planted new password') };
  expect((await ada.call('POST', '/api/v1/me/password', { body: change })).status).toBe(200);
  plant('second session', ada.cookies.get('guidon')?.split('.')[1]);
  plant('second CSRF token', ada.csrfToken);

  const seed = await plane.seed();
  const invite = async (email: string): Promise<string> => {
    const { body } = await plane.must('POST', `${seed.tenant}/invitations`, { body: { email, roles: ['owner'] } });
    const token = body.link.split('#')[1];
    plant(`invitation of ${email}`, token.split('.')[2]);
    return token;
  };
  const member = new Browser(plane);
  const body = { token: await invite('m@example.com'), name: 'm', password: plant('their password', 'planted theirs') };
  expect((await member.call('POST', '/api/v1/invitations/accept', { body })).status).toBe(200);
  await member.call('POST', '/api/v1/invitations/accept', { body });
  const made = await member.call('POST', `${seed.tenant}/me/tokens`, {
    body: { name: 't' },
    headers: { 'idempotency-key': 'k' },
  });
  plant('personal token', secretOf(made.body.token));
  const reads = ['/members', '/invitations', '/me/tokens', '/admin-credentials', '/audit?limit=100', '/audit/export'];

  const grace = new Browser(plane);
  const begun = await grace.call('POST', '/api/v1/login/oidc', {
    body: { invitation: await invite('grace@example.com') },
  });
  plant('pending login', grace.cookies.get('guidon-login'));
  const back = await provider.logIn(begun.body.authorizationUrl, 'grace:verified');
  plant('authorization code', back.searchParams.get('code') ?? '');
  await grace.call('GET', `${back.pathname}?code=${plant('wrong code', 'planted-wrong-code')}&state=x`);
  expect((await grace.call('GET', back.pathname + back.search)).status).toBe(303);
  plant('third session', grace.cookies.get('guidon')?.split('.')[1]);

  const assertion = signBreakGlass({ dataDirectory: plane.directory, reason: 'r', now: Date.now() });
  const opened = await plane.call('POST', '/api/v1/break-glass', { token: null, body: { assertion } });
  plant('break-glass assertion', assertion.split('.')[1]);
  plant('break-glass token', secretOf(opened.body.token));

  const ofInstallation = [
    '/api/v1/people',
    '/api/v1/admin-credentials',
    '/api/v1/audit?limit=100',
    '/api/v1/audit/export',
    '/openapi.json',
  ];
  const answers = [
    ...(await Promise.all(reads.map((path) => member.call('GET', seed.tenant + path)))),
    ...(await Promise.all(ofInstallation.map((path) => plane.call('GET', path)))),
    await ada.call('GET', '/api/v1/me/sessions'),
  ];
  for (const { status } of answers) expect(status).toBe(200);
  const places: Record<string, string> = { log, answers: answers.map(({ text }) => text).join('\n') };
  for (const entry of readdirSync(plane.directory, { recursive: true }).map(String)) {
    const path = join(plane.directory, entry);
    if (statSync(path).isFile()) places[entry] = readFileSync(path).toString('latin1');
  }
  expect(Object.keys(places).length).toBeGreaterThan(4);
  // The scanner sees what there is to see.
  expect(log).toContain('a login through the identity provider was refused');
  expect(log).toContain('break-glass was opened');
  expect(places.answers).toContain('session.refused');
  for (const [place, text] of Object.entries(places)) {
    for (const [name, secret] of secrets) expect([place, name, text.includes(secret)]).toEqual([place, name, false]);
  }
});
