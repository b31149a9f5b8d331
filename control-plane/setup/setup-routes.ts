import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { registerRoute } from '../admin-api/register-route.js';
import { registerStaticFile } from '../admin-api/static-file.js';
import { newPlatformCredentialSchema } from '../credentials/platform-credential-service.js';
import { SETUP_HTML, SETUP_SCRIPT, SETUP_STYLE } from './setup-page.js';
import { type SetupService, setupBody } from './setup-service.js';

export function registerSetupRoutes(app: FastifyInstance, service: SetupService): void {
  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/setup',
    operationId: 'completeSetup',
    tag: 'setup',
    summary:
      'Make the first installation admin with the one-time setup token: a credential, and an account to log in with',
    publicBecause: 'it is guarded by the one-time token in its body',
    params: z.object({}),
    body: setupBody,
    replies: { 201: newPlatformCredentialSchema },
    handle: ({ body, write }) => service.complete(write, body),
  });
  const publicBecause = 'the setup page itself holds nothing';
  registerStaticFile(app, {
    url: '/setup',
    contentType: 'text/html; charset=utf-8',
    content: SETUP_HTML,
    publicBecause,
  });
  registerStaticFile(app, {
    url: '/setup.js',
    contentType: 'text/javascript; charset=utf-8',
    content: SETUP_SCRIPT,
    publicBecause,
  });
  registerStaticFile(app, {
    url: '/setup.css',
    contentType: 'text/css; charset=utf-8',
    content: SETUP_STYLE,
    publicBecause,
  });
}
