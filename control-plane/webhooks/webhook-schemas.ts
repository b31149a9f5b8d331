import { z } from 'zod';
import { keySchema, nameSchema, timestampSchema } from '../admin-api/params.js';
import { CHAT_FORMS, PURGE_FORMS, shownUrlOf, WEBHOOK_FORMS, type WebhookRecord } from './webhook-record.js';
import { URL_CHARS_MAX } from './webhook-url.js';

const FILTER_ITEMS_MAX = 50;
const TEMPLATE_CHARS_MAX = 2_000;
const POLICY_MS_MAX = 5_000;
const POLICY_MS_DEFAULT = 3_000;
export const OVERLAP_SECONDS_MAX = 7 * 24 * 3_600;
const OVERLAP_SECONDS_DEFAULT = 24 * 3_600;

const eventPattern = z
  .string()
  .regex(/^(\*|[a-z-]+\.(\*|[a-z-]+)|\*\.[a-z-]+)$/, 'must be like flag.updated, flag.*, *.deleted or *');
const flagPattern = z.string().regex(/^[A-Za-z0-9._*-]{1,128}$/, 'must be a flag key; * stands for any characters');

/** What can be edited. */
const editable = {
  name: nameSchema,
  url: z.string().min(1).max(URL_CHARS_MAX),
  events: z.array(eventPattern).max(FILTER_ITEMS_MAX),
  flags: z.array(flagPattern).max(FILTER_ITEMS_MAX),
  tags: z.array(z.string().min(1).max(64)).max(FILTER_ITEMS_MAX),
  template: z
    .string()
    .max(TEMPLATE_CHARS_MAX)
    .describe(
      'Of slack and teams: text in which {{summary}}, {{type}}, {{actor}}, {{subject}}, {{sequence}} are filled in',
    ),
  timeoutMs: z.int().min(100).max(POLICY_MS_MAX).describe('Of policy: how long an answer may take'),
  enabled: z.boolean(),
};

export const webhookPatchSchema = z.strictObject(editable);

/** No line breaks: it becomes a header. */
const headerValue = z.string().regex(/^[!-~][ -~]{0,1999}$/, 'must be printable ASCII');

export const createWebhookBody = z
  .strictObject({
    ...editable,
    events: editable.events.default([]),
    flags: editable.flags.default([]),
    tags: editable.tags.default([]),
    template: editable.template.default(''),
    timeoutMs: editable.timeoutMs.default(POLICY_MS_DEFAULT),
    enabled: editable.enabled.default(true),
    form: z.enum(WEBHOOK_FORMS).default('standard'),
    project: keySchema.optional().describe('Only what happens in this project'),
    environment: keySchema.optional().describe('Only what happens in this environment of it'),
    signing: z.enum(['hmac', 'ed25519']).default('hmac'),
    authorization: z
      .strictObject({ header: z.enum(['authorization', 'fastly-key', 'x-purge-key']), value: headerValue })
      .optional()
      .describe('Of fastly, cloudflare and varnish: what their API asks for. Not shown again'),
  })
  .refine(({ project, environment }) => environment === undefined || project !== undefined, {
    path: ['environment'],
    error: 'name its project too',
  })
  .refine(({ form, authorization }) => authorization === undefined || PURGE_FORMS.has(form), {
    path: ['authorization'],
    error: 'is for fastly, cloudflare and varnish',
  })
  .refine(({ form, template }) => template === '' || CHAT_FORMS.has(form), {
    path: ['template'],
    error: 'is for slack and teams',
  });

export const rotateWebhookBody = z.strictObject({
  overlapSeconds: z
    .int()
    .min(0)
    .max(OVERLAP_SECONDS_MAX)
    .default(OVERLAP_SECONDS_DEFAULT)
    .describe('How long messages carry a signature of the secret before, too'),
});

export const redeliverBody = z
  .strictObject({ from: z.int().min(1), to: z.int().min(1).optional().describe('Default: `from` alone') })
  .refine(({ from, to = from }) => to >= from && to - from < 10_000, {
    path: ['to'],
    error: 'a range has at most 10000 events and does not end before it begins',
  });

export const webhookSchema = z
  .object({
    id: z.string(),
    name: z.string(),
    url: z.string().describe('Of slack and teams, whose addresses are secrets, the host alone'),
    form: z.enum(WEBHOOK_FORMS),
    project: z.string().nullable(),
    environment: z.string().nullable(),
    events: z.array(z.string()),
    flags: z.array(z.string()),
    tags: z.array(z.string()),
    template: z.string(),
    timeoutMs: z.int(),
    signing: z.enum(['hmac', 'ed25519']),
    publicKey: z.string().nullable().describe('Of ed25519: what a receiver checks signatures with'),
    secretCount: z.int().describe('2 while a rotation overlaps'),
    hasAuthorization: z.boolean(),
    enabled: z.boolean(),
    health: z.enum(['ok', 'failing', 'disabled']),
    healthReason: z.string(),
    createdAt: timestampSchema,
    version: z.int(),
  })
  .meta({ id: 'Webhook' });
export type WebhookView = z.infer<typeof webhookSchema>;

export const newWebhookSchema = webhookSchema
  .extend({ secret: z.string().describe('whsec_ or whsk_, shown this once') })
  .meta({ id: 'NewWebhook' });

export function viewWebhook(webhook: WebhookRecord): WebhookView {
  const { webhookId, form, place, secrets, authorization, events, flags, tags } = webhook;
  const { name, template, timeoutMs, signing, enabled, health, healthReason, createdAt, version } = webhook;
  return {
    id: webhookId,
    name,
    url: shownUrlOf(webhook),
    form,
    project: place?.projectKey ?? null,
    environment: place?.environmentKey ?? null,
    events: [...events],
    flags: [...flags],
    tags: [...tags],
    template,
    timeoutMs,
    signing,
    publicKey: secrets[0]?.publicKey || null,
    secretCount: secrets.length,
    hasAuthorization: authorization !== null,
    enabled,
    health,
    healthReason,
    createdAt,
    version,
  };
}

export const deliverySchema = z
  .object({
    number: z.int(),
    kind: z.enum(['event', 'redelivery', 'test', 'policy']),
    at: timestampSchema,
    messageId: z.string(),
    type: z.string(),
    sequence: z.int().describe('Of the event in the feed; 0 for tests and questions'),
    attempt: z.int(),
    outcome: z.string().describe('delivered, or why not'),
    latencyMs: z.number(),
    detail: z.string(),
    nextAt: timestampSchema.nullable().describe('When the next attempt is due'),
    isHidden: z
      .boolean()
      .describe('Bodies are left out: they tell of something that the caller may not read, or not in the audit log'),
    request: z.object({
      method: z.string(),
      url: z.string(),
      headers: z.record(z.string(), z.string()),
      body: z.string(),
      bodyBytes: z.int(),
    }),
    response: z.object({ status: z.int(), headers: z.record(z.string(), z.string()), body: z.string() }).nullable(),
  })
  .meta({ id: 'WebhookDelivery' });
