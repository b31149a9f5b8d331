import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { newPlatformCredentialSchema } from '../credentials/platform-credential-service.js';
import { ASSERTION_CHARS_MAX } from './break-glass-assertion.js';
import { BreakGlassService } from './break-glass-service.js';

export function registerBreakGlassRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new BreakGlassService(core);
  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/break-glass',
    operationId: 'openBreakGlass',
    tag: 'setup',
    summary: 'Become installation admin for an hour with what `guidon break-glass` signs; it does this by itself',
    publicBecause: 'it is guarded by a signature that only the control plane’s own key can make',
    params: z.object({}),
    body: z.strictObject({ assertion: z.string().max(ASSERTION_CHARS_MAX) }),
    replies: { 201: newPlatformCredentialSchema },
    handle: ({ body, write }) => service.open(write, body.assertion),
  });
}
