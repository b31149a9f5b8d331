import { join } from 'node:path';
import { Feed, putFeedStart } from '@guidon/control-plane/feed/feed.js';
import { ControlStore } from '@guidon/control-plane/store/control-store.js';
import { parseTenantId } from '@guidon/protocol';
import { Webhook } from 'standardwebhooks';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { type Answer, booleanFlag, type Seed, TestControlPlane } from '../support/control-plane.js';
import { until } from '../support/running-node.js';
import { answerWith, type Received, WebhookReceiver } from '../support/webhook-receiver.js';
import { archiveTenant } from '../support/whole-store.js';

let plane: TestControlPlane;
let acme: Seed;
const receivers: WebhookReceiver[] = [];

beforeAll(async () => {
  plane = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'] });
  acme = await plane.seed();
});
afterAll(() => plane.dispose());
afterEach(async () => {
  for (const receiver of receivers.splice(0)) await receiver.stop();
  for (const { id, version } of (await plane.must('GET', `${acme.tenant}/webhooks?limit=100`)).body.items) {
    await plane.call('DELETE', `${acme.tenant}/webhooks/${id}`, { headers: { 'if-match': `"${version}"` } });
  }
});

async function receiver(...args: Parameters<typeof WebhookReceiver.start>): Promise<WebhookReceiver> {
  const started = await WebhookReceiver.start(...args);
  receivers.push(started);
  return started;
}

interface Made {
  readonly id: string;
  readonly path: string;
  readonly secret: string;
  readonly answer: Answer;
}

async function webhook(url: string, options: object = {}): Promise<Made> {
  const answer = await plane.must('POST', `${acme.tenant}/webhooks`, { body: { name: 'hook', url, ...options } });
  const { id, secret } = answer.body;
  return { id, secret, path: `${acme.tenant}/webhooks/${id}`, answer };
}

let madeCount = 0;
async function makeFlag(options: object = {}): Promise<string> {
  madeCount += 1;
  const key = `flag-${madeCount}`;
  await plane.must('POST', `${acme.project}/flags`, { body: { ...booleanFlag(key), ...options } });
  return key;
}

const bodiesOf = ({ received }: WebhookReceiver) => received.map(({ body }) => JSON.parse(body));
const typesOf = (target: WebhookReceiver): string[] => bodiesOf(target).map(({ type }) => type);
const edit = async (path: string, body: unknown): Promise<Answer> => {
  const { headers } = await plane.must('GET', path);
  return plane.must('PATCH', path, { body, headers: { 'if-match': String(headers.etag) } });
};

describe('what is sent', () => {
  test('is signed as Standard Webhooks says: the published library verifies it', async () => {
    const target = await receiver();
    const { secret } = await webhook(target.url, { events: ['flag.created'] });
    expect(secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    const key = await makeFlag({ tags: ['beta'] });
    await until('it arrives', () => target.received.length === 1);
    const [{ headers, body, method } = {} as Received] = target.received;
    expect(method).toBe('POST');
    expect(headers['webhook-id']).toMatch(/^msg_[A-Za-z0-9_]+$/);
    const event = new Webhook(secret).verify(body, headers) as { type: string; data: Record<string, unknown> };
    expect(event).toMatchObject({
      type: 'flag.created',
      timestamp: expect.stringMatching(/^\d{4}-.*Z$/),
      data: { subject: `projects/shop/flags/${key}`, sequence: expect.any(Number), object: { key, tags: ['beta'] } },
    });
    expect(() => new Webhook(secret).verify(body.replace(key, 'x'), headers)).toThrow();
    const old = { ...headers, 'webhook-timestamp': String(Number(headers['webhook-timestamp']) - 301) };
    expect(() => new Webhook(secret).verify(body, old)).toThrow(/too old|signature/);
  });

  test('two events name each other: a receiver sees when one is missing', async () => {
    const target = await receiver();
    await webhook(target.url, { events: ['flag.created'] });
    for (let index = 0; index < 3; index += 1) await makeFlag();
    await until('all arrive', () => target.received.length === 3);
    const [first, second, third] = bodiesOf(target).map(({ data }) => data);
    expect(first.previousSequence).toBe(0);
    expect([second.previousSequence, third.previousSequence]).toEqual([first.sequence, second.sequence]);
  });

  test('filters by event, flag, tag and place leave everything else out', async () => {
    const target = await receiver();
    const flag = await makeFlag({ tags: ['beta'] });
    const at = { project: 'shop', environment: 'dev' };
    await webhook(target.url, {
      ...at,
      events: ['targeting.*'],
      flags: [`${flag.slice(0, -1)}*`],
      tags: ['beta', 'x'],
    });
    const other = await makeFlag();
    for (const [environment, key] of [
      ['prod', flag],
      ['dev', other],
      ['dev', flag],
    ] as const) {
      await edit(`${acme.project}/environments/${environment}/flags/${key}/targeting`, { on: true });
    }
    await until('it arrives', () => target.received.length > 0);
    await edit(`${acme.project}/environments/dev/flags/${flag}/targeting`, { on: false });
    await until('both arrive', () => target.received.length > 1);
    expect(bodiesOf(target).map(({ data }) => data.object.on)).toEqual([true, false]);
    expect(bodiesOf(target)[0].data.subject).toBe(`projects/shop/environments/dev/flags/${flag}/targeting`);
  });

  test('is found behind hundreds of events that are for others, in order and ordered again', async () => {
    const target = await receiver();
    const { path } = await webhook(target.url, { events: ['project.updated'], enabled: false });
    const { cursor } = (await plane.must('GET', `${path}/state`)).body;
    for (let index = 0; index < 70; index += 1) await makeFlag();
    await edit(acme.project, { name: 'Found' });
    const { newest } = (await plane.must('GET', `${path}/state`)).body;
    expect(newest - cursor).toBeGreaterThan(300);
    await edit(path, { enabled: true });
    await until('it arrives', () => target.received.length === 1);
    await until('it is done with', async () => (await plane.must('GET', `${path}/state`)).body.cursor >= newest);
    await plane.must('POST', `${path}/redeliver`, { body: { from: cursor + 1, to: newest } });
    await until('it arrives again', () => target.received.length === 2);
    expect(target.received[0]?.headers['webhook-id']).toBe(target.received[1]?.headers['webhook-id']);
  });

  test('by ed25519 verifies with the public key that the endpoint shows', async () => {
    const target = await receiver();
    const { answer, secret } = await webhook(target.url, { signing: 'ed25519', events: ['flag.created'] });
    expect([secret.slice(0, 5), answer.body.publicKey.slice(0, 5)]).toEqual(['whsk_', 'whpk_']);
    await makeFlag();
    await until('it arrives', () => target.received.length === 1);
    const [{ headers, body } = {} as Received] = target.received;
    const { createPublicKey, verify } = await import('node:crypto');
    const x = Buffer.from(answer.body.publicKey.slice(5), 'base64').toString('base64url');
    const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' });
    const text = Buffer.from(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`);
    const signature = headers['webhook-signature'] ?? '';
    expect(signature).toMatch(/^v1a,/);
    expect(verify(null, text, key, Buffer.from(signature.slice(4), 'base64'))).toBe(true);
    expect(verify(null, Buffer.from('x'), key, Buffer.from(signature.slice(4), 'base64'))).toBe(false);
  });

  test('carries two signatures while a rotation overlaps, and the secret before alone no longer afterwards', async () => {
    const target = await receiver();
    const { path, secret } = await webhook(target.url, { events: ['flag.created'] });
    const rotate = (overlapSeconds: number, version: number) =>
      plane.must('POST', `${path}/rotate-secret`, {
        body: { overlapSeconds },
        headers: { 'if-match': `"${version}"` },
      });
    const { body: rotated } = await rotate(60, 1);
    expect([rotated.secretCount, rotated.secret === secret]).toEqual([2, false]);
    await makeFlag();
    await until('it arrives', () => target.received.length === 1);
    const [{ headers, body } = {} as Received] = target.received;
    expect(headers['webhook-signature']?.split(' ')).toHaveLength(2);
    for (const one of [secret, rotated.secret]) new Webhook(one).verify(body, headers);
    const { body: last } = await rotate(0, 2);
    await makeFlag();
    await until('the next arrives', () => target.received.length === 2);
    const next = target.received[1] ?? ({} as Received);
    new Webhook(last.secret).verify(next.body, next.headers);
    for (const one of [secret, rotated.secret])
      expect(() => new Webhook(one).verify(next.body, next.headers)).toThrow();
  });

  test('as CloudEvents, Slack and Teams has their shapes; what people write becomes no markup', async () => {
    const target = await receiver();
    const made = await Promise.all(
      ['cloudevents', 'slack', 'teams'].map((form) =>
        webhook(`${target.url}-${form}`, {
          form,
          events: ['project.updated'],
          ...(form === 'slack' ? { template: '{{actor}}: {{summary}} {{nothing}}' } : {}),
        }),
      ),
    );
    await edit(acme.project, { name: '<!channel> [x](y)' });
    await until('all arrive', () => target.received.length === 3);
    const of = (form: string) => {
      const found = target.received.find(({ url }) => url.endsWith(form));
      return { ...found, body: JSON.parse(found?.body ?? '{}') };
    };
    expect(of('cloudevents').headers?.['content-type']).toBe('application/cloudevents+json');
    expect(of('cloudevents').body).toMatchObject({
      specversion: '1.0',
      id: of('cloudevents').headers?.['webhook-id'],
      source: `/api/v1/tenants/${acme.tenantId}`,
      type: 'project.updated',
      subject: 'projects/shop',
      datacontenttype: 'application/json',
    });
    expect(of('slack').body.text).toMatch(/^system: Edited project shop \{\{nothing\}\}$/);
    const [card] = of('teams').body.attachments;
    expect(card.contentType).toBe('application/vnd.microsoft.card.adaptive');
    expect(card.content.body[0].text).toContain('Edited project shop');
    // A channel's address is a secret: it is not shown again.
    expect(made[1]?.answer.body.url).toBe(`http://127.0.0.1:${target.port}/…`);
    expect((await plane.must('GET', `${acme.tenant}/webhooks`)).text).not.toContain('hook-slack');
    const { path = '' } = made[1] ?? {};
    await until('it is logged', async () => (await plane.must('GET', `${path}/deliveries`)).body.items.length > 0);
    expect((await plane.must('POST', `${path}/test`)).body.request.url).toBe(`http://127.0.0.1:${target.port}/…`);
    expect((await plane.must('GET', `${path}/deliveries`)).text).not.toContain('hook-slack');
    // Nor can it be copied to where it is seen; an edit that leaves it alone keeps it.
    const { headers } = await plane.must('GET', path);
    const copied = await plane.must('PATCH', path, {
      raw: JSON.stringify([{ op: 'copy', from: '/url', path: '/template' }]),
      headers: { 'content-type': 'application/json-patch+json', 'if-match': String(headers.etag) },
    });
    expect(copied.body.template).toBe(`http://127.0.0.1:${target.port}/…`);
    target.received.splice(0);
    await plane.must('POST', `${path}/test`);
    expect(target.received.map(({ url }) => url)).toEqual([expect.stringContaining('hook-slack')]);
  });
});

describe('what is answered', () => {
  test('is in the log, with request, response and time; the secret is not', async () => {
    const target = await receiver(answerWith(200, { 'x-answer': 'yes' }, 'thank you'));
    const { path, secret } = await webhook(target.url, { events: ['flag.created'] });
    await makeFlag();
    await until('it is logged', async () => (await plane.must('GET', `${path}/deliveries`)).body.items.length === 1);
    const { body, text } = await plane.must('GET', `${path}/deliveries`);
    expect(body.items[0]).toMatchObject({
      number: 1,
      kind: 'event',
      type: 'flag.created',
      attempt: 1,
      outcome: 'delivered',
      latencyMs: expect.any(Number),
      messageId: target.received[0]?.headers['webhook-id'],
      request: { method: 'POST', url: target.url, body: target.received[0]?.body },
      response: { status: 200, headers: { 'x-answer': 'yes' }, body: 'thank you' },
    });
    expect(text).not.toContain(secret.slice(6));
  });

  test('410 disables the endpoint, audited and told to others; enabled again it goes on where it stopped', async () => {
    const watcher = await receiver();
    const target = await receiver(answerWith(410));
    await webhook(watcher.url, { events: ['webhook.disabled'] });
    const { id, path } = await webhook(target.url, { events: ['flag.created'] });
    const first = await makeFlag();
    await until('the watcher hears', () => watcher.received.length === 1);
    expect(bodiesOf(watcher)[0].data).toMatchObject({ subject: `webhooks/${id}`, object: { health: 'disabled' } });
    await makeFlag();
    const { body } = await plane.must('GET', path);
    expect([body.health, body.enabled, body.healthReason]).toEqual(['disabled', true, expect.stringContaining('410')]);
    expect((await plane.must('GET', `${acme.tenant}/audit?action=webhook.disable`)).body.items).toHaveLength(1);
    expect(target.received).toHaveLength(1);
    target.answering = answerWith(204);
    await edit(path, { enabled: true });
    await until('both arrive', () => target.received.length === 3);
    expect(bodiesOf(target).map(({ data }) => data.object.key)).toEqual([first, first, `flag-${madeCount}`]);
    expect(target.received[0]?.headers['webhook-id']).toBe(target.received[1]?.headers['webhook-id']);
  });

  test('a redirect is a failure and is not followed', async () => {
    const elsewhere = await receiver();
    const target = await receiver(answerWith(307, { location: elsewhere.url }));
    const { path } = await webhook(target.url, { events: ['flag.created'] });
    await makeFlag();
    await until('it is logged', async () => (await plane.must('GET', `${path}/deliveries`)).body.items.length === 1);
    const [row] = (await plane.must('GET', `${path}/deliveries`)).body.items;
    expect([row.outcome, row.response.status, row.nextAt > row.at]).toEqual(['redirected', 307, true]);
    expect(elsewhere.received).toEqual([]);
  });

  test('is read up to 64 KB', async () => {
    const target = await receiver((_, response) => {
      response.writeHead(200);
      const write = (): void => {
        while (response.writable && response.write(Buffer.alloc(16_384, 'x')));
      };
      response.on('drain', write);
      write();
    });
    const { path } = await webhook(target.url, { events: ['flag.created'] });
    await makeFlag();
    await makeFlag();
    await until(
      'both are delivered',
      async () => (await plane.must('GET', `${path}/deliveries`)).body.items.length === 2,
    );
    for (const { outcome } of (await plane.must('GET', `${path}/deliveries`)).body.items)
      expect(outcome).toBe('delivered');
  });
});

describe('sending more', () => {
  test('a test says what came of it, at once', async () => {
    const target = await receiver(answerWith(503));
    const { path, secret } = await webhook(target.url, { events: ['flag.created'] });
    const { body } = await plane.must('POST', `${path}/test`);
    expect([body.kind, body.type, body.outcome, body.response.status]).toEqual([
      'test',
      'webhook.test',
      'refused-by-receiver',
      503,
    ]);
    const [{ headers, body: sent } = {} as Received] = target.received;
    expect(new Webhook(secret).verify(sent, headers)).toMatchObject({ type: 'webhook.test' });
    expect((await plane.must('GET', path)).body.health).toBe('ok');
  });

  test('one event, or a range of them, goes out again with the id it had', async () => {
    const target = await receiver();
    const { path } = await webhook(target.url, { events: ['flag.created'] });
    for (let index = 0; index < 4; index += 1) await makeFlag();
    await until('all arrive', () => target.received.length === 4);
    const sequences = bodiesOf(target).map(({ data }) => data.sequence);
    const order = (body: object) => plane.call('POST', `${path}/redeliver`, { body });
    await until(
      'all are done with',
      async () => (await plane.must('GET', `${path}/state`)).body.cursor >= sequences[3],
    );
    expect((await order({ from: sequences[1] })).status).toBe(202);
    await until('it arrives again', () => target.received.length === 5);
    expect((await order({ from: sequences[0], to: sequences[2] })).status).toBe(202);
    await until('they arrive again', () => target.received.length === 8);
    const ids = target.received.map(({ headers }) => headers['webhook-id']);
    expect(ids.slice(4)).toEqual([ids[1], ids[0], ids[1], ids[2]]);
    expect((await order({ from: sequences[3] + 1_000 })).status).toBe(422);
    expect((await order({ from: 5, to: 4 })).status).toBe(422);
    await until('all are in the log', async () => {
      const { items } = (await plane.must('GET', `${path}/deliveries`)).body;
      return items.filter(({ kind }: { kind: string }) => kind === 'redelivery').length === 4;
    });
  });
});

describe('an endpoint', () => {
  test.each([
    'https://user:pw@example.com/',
    'ftp://example.com/',
    'https://example.com./',
    'https://exämple.com/',
    'https://10.0.0.1/',
    'https://93.184.216.34:22/',
    'not a url',
  ])('with the URL %s is refused', async (url) => {
    const { status, body } = await plane.call('POST', `${acme.tenant}/webhooks`, { body: { name: 'n', url } });
    expect([status, body.code, body.errors[0].pointer]).toEqual([422, 'bad-webhook-url', '/url']);
  });

  test('does not take what it authorises with to another host', async () => {
    const [cache, thief] = [await receiver(), await receiver()];
    const authorization = { header: 'x-purge-key', value: 'of the cache' };
    const { path } = await webhook(cache.url, { form: 'fastly', authorization });
    const moved = await plane.call('PATCH', path, { body: { url: thief.url }, headers: { 'if-match': '"1"' } });
    expect([moved.status, moved.body.code]).toEqual([409, 'conflict']);
    await plane.must('PATCH', path, { body: { url: `${cache.url}-other` }, headers: { 'if-match': '"1"' } });
    await plane.must('POST', `${path}/test`);
    expect(cache.received.map(({ headers }) => (headers as Record<string, string>)['x-purge-key'])).toEqual([
      'of the cache',
    ]);
    expect(thief.received).toEqual([]);
  });

  test('is edited, listed and deleted with its log; editors may not', async () => {
    const target = await receiver();
    const { path } = await webhook(target.url, { events: ['flag.created'] });
    await plane.must('POST', `${path}/test`);
    const { body } = await plane.must('POST', `${acme.tenant}/admin-credentials`, {
      body: { name: 'editor', roles: ['editor'] },
    });
    const editor = { token: body.token };
    expect((await plane.call('POST', `${path}/test`, editor)).status).toBe(403);
    expect((await plane.call('GET', path, editor)).status).toBe(200);
    const edited = await edit(path, { name: 'other', flags: ['a*'] });
    expect([edited.body.name, edited.body.flags]).toEqual(['other', ['a*']]);
    expect((await plane.call('PATCH', path, { body: { form: 'slack' }, headers: { 'if-match': '"2"' } })).status).toBe(
      422,
    );
    expect((await plane.call('DELETE', path, { headers: { 'if-match': '"2"' } })).status).toBe(204);
    expect((await plane.call('GET', `${path}/deliveries`)).status).toBe(404);
  });
});

test('types of what it sends are those of the feed', async () => {
  const target = await receiver();
  await webhook(target.url, { project: 'shop' });
  await makeFlag();
  await until('all arrive', () => target.received.length >= 5);
  expect(new Set(typesOf(target))).toEqual(new Set(['flag.created', 'targeting.created', 'environment.revision']));
});

test('events that the feed keeps no longer are a gap that the next one shows', async () => {
  const target = await receiver();
  let own = await TestControlPlane.start({ webhookAllow: ['127.0.0.1'] });
  const { tenant, tenantId, project } = await own.seed();
  const flag = (key: string) => own.must('POST', `${project}/flags`, { body: { key, type: 'boolean' } });
  const body = { name: 'hook', url: target.url, events: ['flag.created'] };
  const { id } = (await own.must('POST', `${tenant}/webhooks`, { body })).body;
  await flag('first');
  await until('it is delivered', () => target.received.length === 1);
  const path = `${tenant}/webhooks/${id}`;
  await own.must('PATCH', path, { body: { enabled: false }, headers: { 'if-match': '"1"' } });
  await own.stop();
  const store = await ControlStore.open({ directory: join(own.directory, 'store') });
  const end = new Feed(store).bounds(parseTenantId(tenantId)).end + 10;
  await store.transaction((transaction) => putFeedStart(transaction, parseTenantId(tenantId), end));
  await store.close();
  own = await TestControlPlane.start({ directory: own.directory, webhookAllow: ['127.0.0.1'] });
  await own.must('PATCH', path, { body: { enabled: true }, headers: { 'if-match': '"2"' } });
  await flag('second');
  await until('the next is delivered', () => target.received.length === 2);
  const [first, second] = bodiesOf(target).map(({ data }) => data);
  expect([second.previousSequence, second.previousSequence === first.sequence]).toEqual([end, false]);
  await own.dispose();
});

test('what an answer says of an endpoint that was enabled again meanwhile is of the past: it goes on with the same event', async () => {
  let answer: (() => void) | undefined;
  const target = await receiver((_, response) => {
    if (target.received.length > 1) return void response.end();
    answer = () => {
      response.statusCode = 410;
      response.end();
    };
  });
  const { path } = await webhook(target.url, { events: ['flag.created'] });
  const key = await makeFlag();
  await until('it was asked', () => answer !== undefined);
  await edit(path, { enabled: false });
  await edit(path, { enabled: true });
  answer?.();
  await until('it is sent again', () => target.received.length === 2);
  expect(new Set(target.received.map(({ headers }) => headers['webhook-id'])).size).toBe(1);
  expect(bodiesOf(target).map(({ data }) => data.object.key)).toEqual([key, key]);
  expect((await plane.must('GET', path)).body).toMatchObject({ enabled: true, health: 'ok' });
});

test('nothing of the endpoints of a deleted tenant stays in memory', async () => {
  const countNow = (): number =>
    plane.running.metrics().find(({ name }) => name === 'guidon_webhook_endpoints')?.samples[0]?.value ?? Number.NaN;
  const before = countNow();
  const target = await receiver();
  const doomed = await plane.seed('doomed');
  for (let count = 0; count < 3; count += 1) {
    await plane.must('POST', `${doomed.tenant}/webhooks`, { body: { name: 'hook', url: target.url } });
  }
  expect(countNow()).toBe(before + 3);
  const { path, headers } = await archiveTenant(plane, doomed.tenant);
  await plane.must('DELETE', path, { headers });
  await until('they are forgotten', () => countNow() === before);
});

test('the log of attempts shows bodies to those alone who may read what they tell of, and who did it', async () => {
  const target = await receiver((request, response) => response.end(`took ${request.url}`));
  const { path } = await webhook(target.url, { events: ['flag.created'] });
  await makeFlag();
  await makeFlag({ tags: ['secret'] });
  await until('both were sent', () => target.received.length === 2);
  const tokenWith = async (key: string, statements: readonly object[]): Promise<string> => {
    await plane.must('POST', `${acme.tenant}/roles`, { body: { key, name: key, statements } });
    return (await plane.must('POST', `${acme.tenant}/admin-credentials`, { body: { name: key, roles: [key] } })).body
      .token;
  };
  const allOf = { effect: 'allow', actions: ['*.read', '*.list'], resources: ['*'] };
  const tokens = {
    all: await tokenWith('sees-all', [allOf]),
    notSecret: await tokenWith('sees-open', [
      allOf,
      { effect: 'deny', actions: ['*'], resources: ['*'], tags: ['secret'] },
    ]),
    notLog: await tokenWith('sees-no-log', [allOf, { effect: 'deny', actions: ['audit.*'], resources: ['*'] }]),
  };
  interface Attempt {
    readonly isHidden: boolean;
    readonly request: { readonly body: string; readonly bodyBytes: number };
    readonly response: { readonly status: number; readonly body: string };
  }
  const shownTo = async (token: string): Promise<readonly (readonly [boolean, boolean, boolean])[]> => {
    const { items } = (await plane.must('GET', `${path}/deliveries`, { token })).body as { items: Attempt[] };
    expect(items.map(({ request, response }) => [request.bodyBytes > 100, response.status])).toEqual(
      Array(2).fill([true, 200]),
    );
    return items.map(({ isHidden, request, response }) => [isHidden, request.body !== '', response.body !== '']);
  };
  await until(
    'both are written down',
    async () => (await plane.must('GET', `${path}/deliveries`)).body.items.length === 2,
  );
  const [shown, hidden] = [
    [false, true, true],
    [true, false, false],
  ];
  expect(await shownTo(tokens.all)).toEqual([shown, shown]);
  expect(await shownTo(tokens.notSecret)).toEqual([hidden, shown]);
  expect(await shownTo(tokens.notLog)).toEqual([hidden, hidden]);
});
