import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { environmentParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { flagHealthBody, flagHealthSchema } from './flag-health-record.js';
import { FlagHealthService } from './flag-health-service.js';

const HEALTH = '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/flags/:flagKey/health';
const params = environmentParams.extend({ flagKey: z.string() });

export function registerFlagHealthRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new FlagHealthService(core);

  registerRoute(app, {
    method: 'GET',
    url: HEALTH,
    operationId: 'getFlagHealth',
    tag: 'flags',
    summary: 'Read whether a flag does well in one environment',
    action: 'flag.read',
    params,
    replies: { 200: flagHealthSchema },
    handle: ({ params: path }) => service.read(path, path.flagKey),
  });

  registerRoute(app, {
    method: 'PUT',
    url: HEALTH,
    operationId: 'markFlagHealth',
    tag: 'flags',
    summary: 'Say whether a flag does well in one environment',
    description: 'It is shown and told by the feed; it changes no answer to anybody.',
    action: 'flag.mark-health',
    params,
    body: flagHealthBody,
    replies: { 200: flagHealthSchema },
    handle: ({ params: path, body, write }) => service.mark(write, path, path.flagKey, body),
  });
}
