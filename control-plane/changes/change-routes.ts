import type { FastifyInstance } from 'fastify';
import { environmentParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { changesBody, changesReplySchema } from './change-input.js';
import { ChangeService } from './change-service.js';

export function registerChangeRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new ChangeService(core);
  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/changes',
    operationId: 'applyChanges',
    tag: 'changes',
    summary: 'Apply many edits to one environment as one revision: all or nothing',
    description: 'If-Match is the revision of the environment in quotes, such as "7".',
    action: 'environment.change',
    params: environmentParams,
    body: changesBody,
    changesExisting: true,
    replies: { 200: changesReplySchema },
    handle: ({ params, body, write }) => service.apply(write, params, body),
  });
}
