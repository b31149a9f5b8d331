import { generateKeyPairSync, sign } from 'node:crypto';
import { signBreakGlass } from '@guidon/control-plane';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, TestControlPlane } from '../support/control-plane.js';

const MINUTE = 60_000;

let plane: TestControlPlane;
let wall = Date.now();

beforeAll(async () => {
  // Nothing listens at the provider: break-glass needs nobody.
  const oidc = { issuer: 'http://127.0.0.1:1', clientId: 'c', clientSecret: 's' };
  plane = await TestControlPlane.start({ now: () => wall, oidc });
});
afterAll(() => plane.dispose());

const brief = ({ status, body }: Answer) => [status, body?.code];
const open = (assertion: string) => plane.call('POST', '/api/v1/break-glass', { token: null, body: { assertion } });
const signed = (reason = 'the provider is down', now = wall): string =>
  signBreakGlass({ dataDirectory: plane.directory, reason, now });

describe('break-glass', () => {
  test('makes an installation admin for an hour, once, and says so loudly', async () => {
    const assertion = signed();
    const { status, body } = await open(assertion);
    expect([status, body.name, body.notAfter]).toEqual([201, 'break-glass', wall + 60 * MINUTE]);
    const list = () => plane.call('GET', '/api/v1/tenants', { token: body.token });
    expect((await list()).status).toBe(200);
    const { body: audit } = await plane.must('GET', '/api/v1/audit?action=break-glass.open');
    expect(audit.items).toHaveLength(1);
    expect(audit.items[0]).toMatchObject({
      actor: { kind: 'system', credentialId: 'break-glass' },
      summary: expect.stringMatching(/BREAK-GLASS.*the provider is down/),
      from: { address: '127.0.0.1' },
    });
    expect(brief(await open(assertion))).toEqual([401, 'invalid-credentials']);
    wall += 60 * MINUTE;
    expect((await list()).status).toBe(401);
  });

  test('does not stand in for the last credential that lasts', async () => {
    const lasting = await plane.must('POST', '/api/v1/admin-credentials', { body: { name: 'lasting' } });
    const { body } = await open(signed());
    const revoke = (id: string) =>
      plane.call('POST', `/api/v1/admin-credentials/${id}/revoke`, {
        token: body.token,
        headers: { 'if-match': '"1"' },
      });
    expect(brief(await revoke(lasting.body.id))).toEqual([409, 'conflict']);
    expect((await revoke(body.id)).status).toBe(200);
  });

  test('twice at a time works once', async () => {
    const assertion = signed();
    const answers = await Promise.all([open(assertion), open(assertion)]);
    expect(answers.map(({ status }) => status).sort((a, b) => a - b)).toEqual([201, 401]);
  });

  test('what is old, early, of another key, of another purpose or spoilt is one and the same 401', async () => {
    const other = await TestControlPlane.start();
    const { privateKey } = generateKeyPairSync('ed25519');
    const good = signed();
    const [document = '', signature = ''] = good.split('.');
    const flipped = Buffer.from(document, 'base64url');
    flipped[flipped.length - 3] = (flipped[flipped.length - 3] ?? 0) ^ 1;
    const forged = sign(null, Buffer.from(document, 'base64url'), privateKey).toString('base64url');
    // Signed by the right key, but for something else: what nodes are given.
    const { body } = await plane.must('GET', '/api/v1/audit/tree-head');
    const attempts = [
      signed('old', wall - MINUTE - 1),
      signed('early', wall + MINUTE + 1),
      signBreakGlass({ dataDirectory: other.directory, reason: 'x', now: wall }),
      `${document}.${forged}`,
      `${flipped.toString('base64url')}.${signature}`,
      `${document}.`,
      `.${signature}`,
      `${good}.x`,
      `${body.signed}.${signature}`,
      '',
    ];
    const answers = await Promise.all(attempts.map((assertion) => open(assertion)));
    for (const answer of answers) expect(brief(answer)).toEqual([401, 'invalid-credentials']);
    expect(new Set(answers.map(({ body: { detail } }) => detail)).size).toBe(1);
    expect((await open(good)).status).toBe(201);
    await other.dispose();
  });
});
