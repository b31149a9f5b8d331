import { PlatformError } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { FeedViewer } from '../feed/feed-view.js';
import { keys } from '../store/keys.js';
import { type DeliveryRow, type ShownDelivery, viewDelivery } from './delivery-rows.js';
import type { Dispatcher } from './dispatcher.js';
import { getWebhook, getWebhookState } from './webhook-read-model.js';
import { WEBHOOK, webhookParams } from './webhook-routes.js';
import { deliverySchema, redeliverBody } from './webhook-schemas.js';
import type { WebhookService } from './webhook-service.js';

const stateSchema = z
  .object({
    cursor: z.int().describe('Events up to this sequence are done with'),
    newest: z.int().describe('The newest event of the feed'),
    attempt: z.int().describe('Attempts so far for the event behind the cursor'),
    nextAt: z.int().nullable().describe('When its next attempt is due, epoch milliseconds'),
  })
  .meta({ id: 'WebhookState' });

/** What was sent and what came of it, and sending more of it. */
export function registerDeliveryRoutes(
  app: FastifyInstance,
  core: ControlPlaneCore,
  { service, dispatcher }: { readonly service: WebhookService; readonly dispatcher: Dispatcher },
): void {
  registerRoute(app, {
    method: 'GET',
    url: `${WEBHOOK}/deliveries`,
    operationId: 'listWebhookDeliveries',
    tag: 'webhooks',
    summary: 'List the attempts of a webhook, newest first',
    description:
      'The last 500, for 14 days. Bodies are shown to those who may read what they tell of, and the audit log.',
    action: 'webhook.read',
    params: webhookParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(deliverySchema) },
    handle: ({ params: { tenantId, webhookId }, query, actor }) => {
      getWebhook(core.store, tenantId, webhookId);
      const range = keys.webhookDeliveries(tenantId, webhookId);
      const viewer = new FeedViewer(actor, tenantId);
      return {
        status: 200,
        body: listPage<DeliveryRow, ShownDelivery>(core.store, range, query, (row) => viewDelivery(row, viewer), {
          reverse: true,
        }),
      };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: `${WEBHOOK}/state`,
    operationId: 'readWebhookState',
    tag: 'webhooks',
    summary: 'Read how far a webhook has got',
    action: 'webhook.read',
    params: webhookParams,
    replies: { 200: stateSchema },
    handle: ({ params: { tenantId, webhookId } }) => {
      getWebhook(core.store, tenantId, webhookId);
      const { cursor, attempt } = getWebhookState(core.store, tenantId, webhookId);
      const newest = core.feed.bounds(tenantId).end;
      const body = { cursor, newest, attempt: attempt?.count ?? 0, nextAt: attempt?.nextAt ?? null };
      return { status: 200, body };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: `${WEBHOOK}/redeliver`,
    operationId: 'redeliverEvents',
    tag: 'webhooks',
    summary: 'Send events of the past once more',
    description: 'One or a range, by sequence; those that the filters leave out stay out. Ids are the ones they had.',
    action: 'webhook.redeliver',
    params: webhookParams,
    body: redeliverBody,
    replies: { 202: z.object({ from: z.int(), to: z.int() }) },
    handle: async ({ params: { tenantId, webhookId }, body, write }) => {
      const reply = await service.redeliver(write, tenantId, webhookId, body);
      dispatcher.wake(tenantId);
      return reply;
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: `${WEBHOOK}/test`,
    operationId: 'testWebhook',
    tag: 'webhooks',
    summary: 'Send a test event and say what came of it',
    action: 'webhook.test',
    params: webhookParams,
    isRateLimited: true,
    replies: { 200: deliverySchema },
    handle: async ({ params: { tenantId, webhookId }, actor, write }) => {
      const webhook = getWebhook(core.store, tenantId, webhookId);
      if (write.dryRun) throw new PlatformError('validation-failed', 'a test is one already');
      const row = await dispatcher.test(webhook);
      return { status: 200, body: viewDelivery(row, new FeedViewer(actor, tenantId)) };
    },
  });
}
