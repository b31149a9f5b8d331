import { createHash } from 'node:crypto';
import type { Json } from '@guidon/protocol';
import type { FeedAudience, FeedRow } from '../feed/feed-row.js';
import type { WebhookForm, WebhookRecord } from './webhook-record.js';

/** Standard Webhooks wants payloads below 20 kB. The thing itself is left out of a larger one: the receiver asks the feed. */
export const PAYLOAD_BYTES_MAX = 20_000;

/** An event as it is to be sent: without signature and address. */
export interface RenderedMessage {
  readonly id: string;
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Who may read the body: whoever belongs to all of these. */
  readonly audiences: readonly FeedAudience[];
}

/** Every body says who did it, which is in the audit log. */
export const AUDIT_READERS: FeedAudience = { action: 'audit.list', path: '', tags: [] };

/**
 * The same for every attempt and after every restart, and different for another event that a restored backup put in the same place. Only letters, digits and `_`.
 */
export function messageIdOf({ tenantId, webhookId }: WebhookRecord, { sequence, type, subject, at }: FeedRow): string {
  const name = JSON.stringify([tenantId, webhookId, sequence, type, subject, at]);
  return `msg_${createHash('sha256').update(name).digest('hex').slice(0, 32)}`;
}

/** `previousSequence`: of the event that this endpoint was sent before, which shows a receiver when one is missing between two; 0: none, or sent again out of turn. */
export function renderMessage(webhook: WebhookRecord, event: FeedRow, previousSequence: number): RenderedMessage {
  const id = messageIdOf(webhook, event);
  const rendered = FORMS[webhook.form](webhook, event, { id, previousSequence });
  return { id, ...rendered, audiences: [event.audience, AUDIT_READERS] };
}

type Render = (
  webhook: WebhookRecord,
  event: FeedRow,
  message: { readonly id: string; readonly previousSequence: number },
) => Rendered;
type Rendered = Omit<RenderedMessage, 'id' | 'audiences'>;

const FORMS: Readonly<Record<WebhookForm, Render>> = {
  standard: (_, event, { previousSequence }) =>
    json('application/json', (data) => ({ type: event.type, timestamp: isoOf(event), data }), event, previousSequence),
  cloudevents: ({ tenantId }, event, { id, previousSequence }) =>
    json(
      'application/cloudevents+json',
      (data) => ({
        specversion: '1.0',
        id,
        source: `/api/v1/tenants/${tenantId}`,
        type: event.type,
        subject: event.subject,
        time: isoOf(event),
        datacontenttype: 'application/json',
        sequence: String(event.sequence),
        data,
      }),
      event,
      previousSequence,
    ),
  slack: ({ template }, event) => chat({ text: escapeSlack(sentenceOf(template, event)) }),
  teams: ({ template }, event) =>
    chat({
      type: 'message',
      attachments: [
        {
          contentType: 'application/vnd.microsoft.card.adaptive',
          contentUrl: null,
          content: {
            $schema: 'http://adaptivecards.io/schemas/adaptive-card.json',
            type: 'AdaptiveCard',
            version: '1.4',
            body: [{ type: 'TextBlock', text: escapeMarkdown(sentenceOf(template, event)), wrap: true }],
          },
        },
      ],
    }),
  fastly: (_, event) => ({ method: 'POST', headers: { 'surrogate-key': surrogateKeyOf(event) }, body: '' }),
  cloudflare: (_, event) => ({
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ tags: [surrogateKeyOf(event)] }),
  }),
  varnish: (_, event) => ({ method: 'BAN', headers: { 'surrogate-key': surrogateKeyOf(event) }, body: '' }),
  // Asked before a change, never told of one.
  policy: (_, event) => json('application/json', (data) => ({ type: event.type, data }), event, 0),
};

function json(contentType: string, wrap: (data: Json) => object, event: FeedRow, previousSequence: number): Rendered {
  const headers = { 'content-type': contentType };
  const whole = JSON.stringify(wrap(dataOf(event, previousSequence, event.data)));
  if (Buffer.byteLength(whole) < PAYLOAD_BYTES_MAX) return { method: 'POST', headers, body: whole };
  const cut = JSON.stringify(wrap({ ...dataOf(event, previousSequence, null), isCut: true }));
  return { method: 'POST', headers, body: cut };
}

function dataOf(event: FeedRow, previousSequence: number, object: Json): { readonly [name: string]: Json } {
  const { sequence, subject, actor, action, summary, projectId, environmentId, revision, auditSequence } = event;
  return {
    sequence,
    previousSequence,
    subject,
    action,
    summary: cutText(summary),
    actor: { kind: actor.kind, name: actor.name },
    auditSequence,
    ...(projectId === undefined ? {} : { projectId }),
    ...(environmentId === undefined ? {} : { environmentId }),
    ...(revision === undefined ? {} : { revision }),
    object,
  };
}

const SUMMARY_CHARS_MAX = 2_000;
const cutText = (text: string): string =>
  text.length > SUMMARY_CHARS_MAX ? `${text.slice(0, SUMMARY_CHARS_MAX)}…` : text;

function chat(body: object): Rendered {
  return { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
}

/** What the template says of the event; names that there are none of stay as they are. */
function sentenceOf(template: string, { summary, type, actor, subject, sequence }: FeedRow): string {
  const values: Readonly<Record<string, string>> = {
    summary: cutText(summary),
    type,
    actor: actor.name,
    subject,
    sequence: String(sequence),
  };
  const text = template === '' ? '{{summary}} ({{actor}})' : template;
  return text.replaceAll(/\{\{(\w{1,20})\}\}/g, (whole, name: string) =>
    Object.hasOwn(values, name) ? (values[name] ?? '') : whole,
  );
}

/** As Slack asks for: names of people must not become links or mentions. */
function escapeSlack(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function escapeMarkdown(text: string): string {
  return text.replaceAll(/[\\`*_[\]()]/g, '\\$&');
}

const isoOf = ({ at }: FeedRow): string => new Date(at).toISOString();

/** What nodes name their answers by to caches (ADR 35). */
const surrogateKeyOf = ({ environmentId }: FeedRow): string => `env-${environmentId ?? ''}`;
