import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ResourceReader } from '../admin-api/resource-reader.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import { TriggerFiring } from './fire-trigger.js';
import {
  createTriggerBody,
  firingBody,
  newTriggerSchema,
  type TriggerRecord,
  triggerSchema,
  viewTrigger,
} from './trigger-record.js';
import { getTrigger, TriggerService } from './trigger-service.js';

const TRIGGERS = '/api/v1/tenants/:tenantId/triggers';
const TRIGGER = `${TRIGGERS}/:triggerId`;
const triggerParams = tenantParams.extend({ triggerId: z.string() });

export function registerTriggerRoutes(app: FastifyInstance, core: ControlPlaneCore, resources: ResourceReader): void {
  const service = new TriggerService(core, resources);
  const firing = new TriggerFiring(core);
  registerReads(app, core);

  registerRoute(app, {
    method: 'POST',
    url: TRIGGERS,
    operationId: 'createTrigger',
    tag: 'triggers',
    summary: 'Create an address that turns a flag off or marks it unhealthy',
    description:
      'The address is in this answer and nowhere else. Whoever makes it must be allowed to do himself what it does.',
    action: 'trigger.create',
    params: tenantParams,
    body: createTriggerBody,
    replies: { 201: newTriggerSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, body),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: TRIGGER,
    operationId: 'deleteTrigger',
    tag: 'triggers',
    summary: 'Delete a trigger: its address does nothing any more',
    action: 'trigger.delete',
    params: triggerParams,
    changesExisting: true,
    replies: { 204: null },
    handle: ({ params, write }) => service.delete(write, params.tenantId, params.triggerId),
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/triggers/:token',
    operationId: 'fireTrigger',
    tag: 'triggers',
    summary: 'Fire a trigger',
    description:
      'With what Prometheus Alertmanager posts, each alert acts once; with any other JSON object it fires. What is so already changes nothing.',
    publicBecause: 'its address is the secret',
    params: z.object({ token: z.string() }),
    body: firingBody,
    isRateLimited: true,
    replies: { 200: z.object({ hasChanged: z.boolean() }) },
    handle: async ({ params: { token }, body, write }) => ({
      status: 200,
      body: { hasChanged: await firing.fire(write, token, body) },
    }),
  });
}

function registerReads(app: FastifyInstance, core: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: TRIGGERS,
    operationId: 'listTriggers',
    tag: 'triggers',
    summary: 'List the triggers of a tenant',
    action: 'trigger.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(triggerSchema) },
    handle: ({ params: { tenantId }, query }) => {
      getTenant(core.store, tenantId);
      return {
        status: 200,
        body: listPage<TriggerRecord, object>(core.store, keys.triggers(tenantId), query, viewTrigger),
      };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: TRIGGER,
    operationId: 'getTrigger',
    tag: 'triggers',
    summary: 'Read a trigger',
    action: 'trigger.read',
    params: triggerParams,
    replies: { 200: triggerSchema },
    handle: ({ params }) => {
      const trigger = getTrigger(core.store, params.tenantId, params.triggerId);
      return { status: 200, body: viewTrigger(trigger), etag: trigger.version };
    },
  });
}
