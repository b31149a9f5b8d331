import type { FeedRow } from '@guidon/control-plane/feed/feed-row.js';
import { messageIdOf, PAYLOAD_BYTES_MAX, renderMessage } from '@guidon/control-plane/webhooks/render-message.js';
import type { WebhookForm, WebhookRecord } from '@guidon/control-plane/webhooks/webhook-record.js';
import { type EnvironmentId, parseTenantId } from '@guidon/protocol';
import { expect, test } from 'vitest';

const WEBHOOK: WebhookRecord = {
  version: 1,
  webhookId: 'whk_1',
  tenantId: parseTenantId('ten_1'),
  name: 'n',
  url: 'https://example.com/',
  form: 'standard',
  place: null,
  events: [],
  flags: [],
  tags: [],
  template: '',
  signing: 'hmac',
  secrets: [],
  authorization: null,
  timeoutMs: 1_000,
  enabled: true,
  health: 'ok',
  healthReason: '',
  enabledAt: 0,
  createdAt: 0,
};
const EVENT: FeedRow = {
  sequence: 7,
  type: 'environment.revision',
  subject: 'projects/shop/environments/prod/revision',
  at: 1_000,
  actor: { kind: 'member', credentialId: 'secret-id', name: '<a> & [b](c)' },
  action: 'targeting.update',
  summary: 'Turned *it* on',
  auditSequence: 3,
  environmentId: 'env_1' as EnvironmentId,
  revision: 4,
  data: { epoch: 1 },
  audience: { action: 'revision.read', path: '', tags: [] },
};
const render = (form: WebhookForm, event: FeedRow = EVENT, template = '') =>
  renderMessage({ ...WEBHOOK, form, template }, event, 5);

test('messageIdOf() is the same for the same event alone, and holds no dot', () => {
  const id = messageIdOf(WEBHOOK, EVENT);
  expect(id).toMatch(/^msg_[0-9a-f]{32}$/);
  expect(messageIdOf({ ...WEBHOOK, version: 9, url: 'https://other.example/' }, { ...EVENT })).toBe(id);
  const others = [
    messageIdOf({ ...WEBHOOK, webhookId: 'whk_2' }, EVENT),
    messageIdOf({ ...WEBHOOK, tenantId: parseTenantId('ten_2') }, EVENT),
    ...[{ sequence: 8 }, { type: 'x' }, { subject: 'x' }, { at: 1_001 }].map((part) =>
      messageIdOf(WEBHOOK, { ...EVENT, ...part }),
    ),
  ];
  expect(new Set([id, ...others]).size).toBe(7);
});

test('renderMessage() says who did what to which thing, and no credential', () => {
  const { body, method } = render('standard');
  expect(method).toBe('POST');
  expect(JSON.parse(body)).toEqual({
    type: 'environment.revision',
    timestamp: '1970-01-01T00:00:01.000Z',
    data: {
      sequence: 7,
      previousSequence: 5,
      subject: EVENT.subject,
      action: EVENT.action,
      summary: EVENT.summary,
      actor: { kind: 'member', name: '<a> & [b](c)' },
      auditSequence: 3,
      environmentId: 'env_1',
      revision: 4,
      object: { epoch: 1 },
    },
  });
});

test.each(['standard', 'cloudevents'] as const)('renderMessage() keeps %s below 20 kB and says so', (form) => {
  const big = { ...EVENT, summary: '漢'.repeat(5_000), data: { text: 'x'.repeat(PAYLOAD_BYTES_MAX) } };
  const { body } = render(form, big);
  expect(Buffer.byteLength(body)).toBeLessThan(PAYLOAD_BYTES_MAX);
  expect(JSON.parse(body).data).toMatchObject({ sequence: 7, object: null, isCut: true });
});

test('renderMessage() lets nobody write markup into a channel', () => {
  expect(JSON.parse(render('slack').body)).toEqual({ text: 'Turned *it* on (&lt;a&gt; &amp; [b](c))' });
  const card = JSON.parse(render('teams', EVENT, '{{actor}} {{sequence}} {{toString}}').body).attachments[0].content;
  expect(card.body[0].text).toBe('<a> & \\[b\\]\\(c\\) 7 {{toString}}');
});

test('renderMessage() orders caches to forget by the key that nodes give', () => {
  expect(render('fastly')).toMatchObject({ method: 'POST', headers: { 'surrogate-key': 'env-env_1' } });
  expect(render('varnish')).toMatchObject({ method: 'BAN', headers: { 'surrogate-key': 'env-env_1' } });
  expect(JSON.parse(render('cloudflare').body)).toEqual({ tags: ['env-env_1'] });
});
