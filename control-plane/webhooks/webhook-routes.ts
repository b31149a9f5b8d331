import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { getWebhook } from './webhook-read-model.js';
import type { WebhookRecord } from './webhook-record.js';
import {
  createWebhookBody,
  newWebhookSchema,
  rotateWebhookBody,
  viewWebhook,
  webhookSchema,
} from './webhook-schemas.js';
import { replyOf, type WebhookService } from './webhook-service.js';

export const WEBHOOKS = '/api/v1/tenants/:tenantId/webhooks';
export const WEBHOOK = `${WEBHOOKS}/:webhookId`;
export const webhookParams = tenantParams.extend({ webhookId: z.string() });

export function registerWebhookRoutes(app: FastifyInstance, core: ControlPlaneCore, service: WebhookService): void {
  registerReads(app, core);

  registerRoute(app, {
    method: 'POST',
    url: WEBHOOKS,
    operationId: 'createWebhook',
    tag: 'webhooks',
    summary: 'Create a webhook',
    description: 'It is told what happens from now on. The secret is in this answer and nowhere else.',
    action: 'webhook.create',
    params: tenantParams,
    body: createWebhookBody,
    replies: { 201: newWebhookSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, body),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: WEBHOOK,
    operationId: 'updateWebhook',
    tag: 'webhooks',
    summary: 'Edit a webhook',
    description: 'One that was disabled is made well again by `enabled: true` and goes on where it stopped.',
    action: 'webhook.update',
    params: webhookParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: webhookSchema },
    handle: ({ params, body, write }) =>
      service.update(write, params.tenantId, params.webhookId, readPatch({ body, write })),
  });

  registerRoute(app, {
    method: 'POST',
    url: `${WEBHOOK}/rotate-secret`,
    operationId: 'rotateWebhookSecret',
    tag: 'webhooks',
    summary: 'Give a webhook a new secret',
    description: 'Messages carry signatures of both until the overlap ends.',
    action: 'webhook.rotate-secret',
    params: webhookParams,
    body: rotateWebhookBody,
    changesExisting: true,
    replies: { 200: newWebhookSchema },
    handle: ({ params, body, write }) => service.rotateSecret(write, params.tenantId, params.webhookId, body),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: WEBHOOK,
    operationId: 'deleteWebhook',
    tag: 'webhooks',
    summary: 'Delete a webhook and its log',
    action: 'webhook.delete',
    params: webhookParams,
    changesExisting: true,
    replies: { 204: null },
    handle: ({ params, write }) => service.delete(write, params.tenantId, params.webhookId),
  });
}

function registerReads(app: FastifyInstance, core: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: WEBHOOKS,
    operationId: 'listWebhooks',
    tag: 'webhooks',
    summary: 'List the webhooks of a tenant',
    action: 'webhook.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(webhookSchema) },
    handle: ({ params: { tenantId }, query }) => {
      getTenant(core.store, tenantId);
      return {
        status: 200,
        body: listPage<WebhookRecord, object>(core.store, keys.webhooks(tenantId), query, viewWebhook),
      };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: WEBHOOK,
    operationId: 'getWebhook',
    tag: 'webhooks',
    summary: 'Read a webhook',
    action: 'webhook.read',
    params: webhookParams,
    replies: { 200: webhookSchema },
    handle: ({ params }) => replyOf(getWebhook(core.store, params.tenantId, params.webhookId)),
  });
}
