import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { assertLoggedIn } from '../admin-api/actor.js';
import { registerRoute } from '../admin-api/register-route.js';
import { invitationTokenSchema } from '../invitations/invitation-service.js';
import { assertNotFromElsewhere } from '../sessions/csrf.js';
import type { OidcService } from './oidc-service.js';

export const OIDC_CALLBACK = '/api/v1/login/oidc/callback';
const NOTHING = z.object({});
const begunSchema = z.object({ authorizationUrl: z.string().describe('Send the browser there') });
const PARAMETER_CHARS_MAX = 2_048;

/** Without a provider configured these answer 404. */
export function registerOidcRoutes(app: FastifyInstance, service: OidcService): void {
  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/login/oidc',
    operationId: 'beginOidcLogin',
    tag: 'account',
    summary: 'Begin to log in through the identity provider, or to accept an invitation with it',
    publicBecause: 'it is how one becomes somebody',
    params: NOTHING,
    body: z.strictObject({ invitation: invitationTokenSchema.optional() }),
    replies: { 200: begunSchema },
    handle: ({ body, write, cookies }) => {
      assertNotFromElsewhere(cookies);
      return service.begin(write, cookies, body);
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/me/identities',
    operationId: 'linkOwnIdentity',
    tag: 'account',
    summary: 'Begin to link an identity of the provider to my account, to log in with it from then on',
    action: 'account.link',
    params: NOTHING,
    body: z.strictObject({}),
    replies: { 200: begunSchema },
    handle: ({ actor, write, cookies }) => service.begin(write, cookies, { linkTo: assertLoggedIn(actor).personId }),
  });

  registerRoute(app, {
    method: 'GET',
    url: OIDC_CALLBACK,
    operationId: 'finishOidcLogin',
    tag: 'account',
    summary: 'Where the identity provider sends the browser back to',
    publicBecause: 'it is guarded by the cookie of the login that began it, and by the provider’s signature',
    params: NOTHING,
    query: z.object({}).catchall(z.string().max(PARAMETER_CHARS_MAX)),
    replies: { 303: null },
    handle: ({ query, write, cookies }) =>
      service.finish(write, cookies, new URLSearchParams(query as Record<string, string>)),
  });
}
