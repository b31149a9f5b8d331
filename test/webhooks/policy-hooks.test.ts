import { Webhook } from 'standardwebhooks';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Answer, type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';
import { answerWith, WebhookReceiver } from '../support/webhook-receiver.js';

let plane: TestControlPlane;
let acme: Seed;
let hook: WebhookReceiver;
let path: string;
let secret: string;
let madeCount = 0;

const says = (answer: unknown) => answerWith(200, { 'content-type': 'application/json' }, JSON.stringify(answer));

beforeAll(async () => {
  plane = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'] });
  acme = await plane.seed();
  hook = await WebhookReceiver.start();
  const { body } = await plane.must('POST', `${acme.tenant}/webhooks`, {
    body: {
      name: 'four-eyes',
      url: hook.url,
      form: 'policy',
      project: 'shop',
      environment: 'prod',
      events: ['flag.*', 'targeting.*'],
      timeoutMs: 300,
    },
  });
  path = `${acme.tenant}/webhooks/${body.id}`;
  secret = body.secret;
});
beforeEach(() => {
  hook.received.splice(0);
  hook.answering = says({ allow: true });
});
afterAll(async () => {
  await plane.dispose();
  await hook.stop();
});

/** By an owner of the tenant. */
const createFlag = (query = ''): Promise<Answer> => {
  madeCount += 1;
  const body = { key: `flag-${madeCount}`, type: 'boolean' };
  return plane.call('POST', `${acme.project}/flags${query}`, { token: acme.token, body });
};
const lastAudit = async (action: string) =>
  (await plane.must('GET', `${acme.tenant}/audit?action=${action}&limit=1`)).body.items[0];

describe('a policy hook', () => {
  test('is asked before a change, signed, and what it allows is written', async () => {
    expect((await createFlag()).status).toBe(201);
    const [{ body, headers } = { body: '', headers: {} }] = hook.received;
    expect(new Webhook(secret).verify(body, headers)).toMatchObject({
      type: 'policy.question',
      data: {
        action: 'flag.create',
        subject: `projects/shop/flags/flag-${madeCount}`,
        actor: { kind: 'member' },
        diff: [expect.objectContaining({ op: 'add' })],
        environments: expect.arrayContaining([{ environmentId: acme.prod.id, revision: 2, isRaised: true }]),
      },
    });
    expect((await lastAudit('flag.create')).policy).toEqual([
      { webhookId: path.split('/').at(-1), verdict: 'allowed' },
    ]);
  });

  test('refuses with its reason: 422, nothing written, audited', async () => {
    hook.answering = says({ allow: false, reason: 'it is Friday' });
    const before = (await plane.must('GET', acme.prod.path)).body.revision;
    const { status, body } = await createFlag();
    expect([status, body.code, body.reason]).toEqual([422, 'refused-by-policy', 'it is Friday']);
    expect((await plane.call('GET', `${acme.project}/flags/flag-${madeCount}`)).status).toBe(404);
    expect((await plane.must('GET', acme.prod.path)).body.revision).toBe(before);
    await until('it is audited', async () => (await lastAudit('policy.refused')) !== undefined);
    expect((await lastAudit('policy.refused')).summary).toContain('it is Friday');
    // What was refused leaves nothing behind that the next change would trip over.
    hook.answering = says({ allow: true });
    expect((await createFlag()).status).toBe(201);
  });

  test.each([
    ['hangs', () => {}],
    ['answers 500', answerWith(500)],
    ['answers no JSON', answerWith(200, {}, 'yes')],
    ['answers something else', says({ allow: 'yes' })],
    ['answers nothing', answerWith(204)],
    ['redirects', answerWith(302, { location: 'http://127.0.0.1:1/' })],
    ['resets', (_: unknown, response: { destroy(): void }) => response.destroy()],
  ] as const)('that %s lets nothing through: 503', async (_, answering) => {
    hook.answering = answering as typeof hook.answering;
    const { status, body } = await createFlag();
    expect([status, body.code]).toEqual([503, 'policy-unavailable']);
    expect((await plane.call('GET', `${acme.project}/flags/flag-${madeCount}`)).status).toBe(404);
  });

  test('is not asked about what it is not concerned with, nor by a dry run', async () => {
    hook.answering = answerWith(500);
    expect((await createFlag('?dryRun=true')).status).toBe(200);
    const segment = { token: acme.token, body: { key: 'beta' } };
    expect((await plane.call('POST', `${acme.prod.path}/segments`, segment)).status).toBe(201);
    const { headers } = await plane.must('GET', `${acme.dev.path}/flags/flag-1/targeting`);
    const patched = await plane.call('PATCH', `${acme.dev.path}/flags/flag-1/targeting`, {
      token: acme.token,
      body: { on: true },
      headers: { 'if-match': String(headers.etag) },
    });
    expect(patched.status).toBe(200);
    expect(hook.received).toEqual([]);
  });

  test('does not bind admins of the installation, which the audit entry says (break-glass)', async () => {
    hook.answering = answerWith(500);
    const { body } = await plane.must('POST', '/api/v1/admin-credentials', { body: { name: 'ops', notAfter: null } });
    const key = `flag-${++madeCount}`;
    const made = await plane.call('POST', `${acme.project}/flags`, {
      token: body.token,
      body: { key, type: 'boolean' },
    });
    expect(made.status).toBe(201);
    expect(hook.received).toEqual([]);
    expect((await lastAudit('flag.create')).policy).toMatchObject([{ verdict: 'not-asked' }]);
  });

  test('for a flag is asked about it among many edits; one for a tag, also when the tag is given or taken away', async () => {
    const others: string[] = [];
    const refusing = await WebhookReceiver.start(says({ allow: false, reason: 'no' }));
    try {
      const guarded = `flag-${madeCount + 1}`;
      expect((await createFlag()).status).toBe(201);
      const make = async (filter: object): Promise<void> => {
        const body = { name: 'guard', url: refusing.url, form: 'policy', ...filter };
        const made = await plane.must('POST', `${acme.tenant}/webhooks`, { body });
        others.push(`${acme.tenant}/webhooks/${made.body.id}`);
      };
      const change = async (at: string): Promise<number> => {
        const { revision } = (await plane.must('GET', at)).body;
        const changes = [{ op: 'targeting.patch', flag: guarded, patch: { on: true } }];
        const headers = { 'if-match': `"${revision}"` };
        return (await plane.call('POST', `${at}/changes`, { token: acme.token, body: { changes }, headers })).status;
      };
      await make({ flags: [guarded] });
      expect(await change(acme.dev.path)).toBe(422);
      const own = `${acme.project}/flags/${guarded}`;
      const tag = async (tags: string[], token: string): Promise<number> => {
        const { headers } = await plane.must('GET', own);
        const write = { token, body: { tags }, headers: { 'if-match': String(headers.etag) } };
        return (await plane.call('PATCH', own, write)).status;
      };
      await plane.must('DELETE', others.splice(0)[0] ?? '', { headers: { 'if-match': '"1"' } });
      await make({ tags: ['payments'] });
      expect(await tag(['payments'], acme.token)).toBe(422);
      // By an admin of the installation, who is not asked about.
      expect(await tag(['payments'], plane.admin)).toBe(200);
      expect(await change(acme.dev.path)).toBe(422);
      expect(await tag([], acme.token)).toBe(422);
      expect((await createFlag()).status).toBe(201);
    } finally {
      for (const one of others) await plane.must('DELETE', one, { headers: { 'if-match': '"1"' } });
      await refusing.stop();
    }
  });

  test('that is deleted while it is asked answers still: its log is gone, the change is not', async () => {
    const slow = await WebhookReceiver.start();
    try {
      const body = { name: 'slow', url: slow.url, form: 'policy', events: ['segment.*'], timeoutMs: 5_000 };
      const made = await plane.must('POST', `${acme.tenant}/webhooks`, { body });
      slow.answering = (_, response) => {
        const gone = plane.must('DELETE', `${acme.tenant}/webhooks/${made.body.id}`, {
          headers: { 'if-match': '"1"' },
        });
        void gone.then(() => response.writeHead(200).end(JSON.stringify({ allow: true })));
      };
      const segment = { token: acme.token, body: { key: 'asked-about' } };
      expect((await plane.call('POST', `${acme.prod.path}/segments`, segment)).status).toBe(201);
      expect(slow.received.length).toBe(1);
    } finally {
      await slow.stop();
    }
  });

  test('that is broken can be taken away by those who may manage webhooks', async () => {
    hook.answering = answerWith(500);
    expect((await createFlag()).status).toBe(503);
    const { headers } = await plane.must('GET', path);
    const off = { body: { enabled: false }, headers: { 'if-match': String(headers.etag) }, token: acme.token };
    expect((await plane.call('PATCH', path, off)).status).toBe(200);
    expect((await createFlag()).status).toBe(201);
  });
});
