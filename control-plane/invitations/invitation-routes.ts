import type { TenantId } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { assertLoggedIn } from '../admin-api/actor.js';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import { registerRoute } from '../admin-api/register-route.js';
import { registerStaticFile } from '../admin-api/static-file.js';
import type { ControlPlaneCore } from '../core.js';
import { findMember } from '../members/member-read-model.js';
import type { PasswordHasher } from '../people/password-hasher.js';
import { assertNotFromElsewhere } from '../sessions/csrf.js';
import { ownSessionSchema, type SessionService } from '../sessions/session-service.js';
import { keys } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import type { TenantRecord } from '../tenants/tenant-record.js';
import { INVITATION_HTML, INVITATION_SCRIPT } from './invitation-page.js';
import {
  acceptInvitationBody,
  createInvitationBody,
  type InvitationService,
  invitationSchema,
  invitationTokenSchema,
  newInvitationSchema,
  viewInvitation,
} from './invitation-service.js';

const INVITATIONS = '/api/v1/tenants/:tenantId/invitations';

const membershipSchema = z
  .object({ tenantId: z.string(), tenantKey: z.string(), name: z.string(), roles: z.array(z.string()) })
  .meta({ id: 'Membership' });

interface Services {
  readonly sessions: SessionService;
  readonly hasher: PasswordHasher;
  readonly invitations: InvitationService;
}

export function registerInvitationRoutes(app: FastifyInstance, core: ControlPlaneCore, services: Services): void {
  const { store } = core;
  const service = services.invitations;

  registerRoute(app, {
    method: 'GET',
    url: INVITATIONS,
    operationId: 'listInvitations',
    tag: 'members',
    summary: 'List the invitations that are open, and those that have expired lately',
    action: 'invitation.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(invitationSchema) },
    handle: ({ params: { tenantId }, query }) => {
      getTenant(store, tenantId);
      return { status: 200, body: listPage(store, keys.invitations(tenantId), query, viewInvitation) };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: INVITATIONS,
    operationId: 'createInvitation',
    tag: 'members',
    summary: 'Invite somebody into a tenant with a link that works once, for 7 days',
    action: 'invitation.create',
    params: tenantParams,
    body: createInvitationBody,
    replies: { 201: newInvitationSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, body),
  });

  registerRoute(app, {
    method: 'DELETE',
    url: `${INVITATIONS}/:invitationId`,
    operationId: 'revokeInvitation',
    tag: 'members',
    summary: 'Take an invitation back',
    action: 'invitation.revoke',
    params: tenantParams.extend({ invitationId: z.string() }),
    replies: { 204: null },
    handle: ({ params, write }) => service.revoke(write, params.tenantId, params.invitationId),
  });

  registerAcceptance(app, core, service, services);
  const publicBecause = 'the page itself holds nothing';
  registerStaticFile(app, {
    url: '/invitation',
    contentType: 'text/html; charset=utf-8',
    content: INVITATION_HTML,
    publicBecause,
  });
  registerStaticFile(app, {
    url: '/invitation.js',
    contentType: 'text/javascript; charset=utf-8',
    content: INVITATION_SCRIPT,
    publicBecause,
  });
}

function registerAcceptance(
  app: FastifyInstance,
  { store }: ControlPlaneCore,
  service: InvitationService,
  { sessions, hasher }: Services,
): void {
  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/invitations/accept',
    operationId: 'acceptInvitation',
    tag: 'members',
    summary: 'Accept an invitation with a new account, and log in',
    publicBecause: 'it is guarded by the one-time token in its body',
    params: z.object({}),
    body: acceptInvitationBody,
    replies: { 200: ownSessionSchema },
    handle: async ({ body: { token, name, password }, write, cookies }) => {
      assertNotFromElsewhere(cookies);
      // No work on a password before it is known that somebody was invited.
      service.mustFind(token);
      const person = await service.acceptAsNew(write, token, { name, passwordHash: await hasher.hash(password) });
      return sessions.open(write, person, cookies, 'with an invitation');
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/me/tenants',
    operationId: 'joinTenant',
    tag: 'account',
    summary: 'Accept an invitation with the account I have',
    action: 'invitation.accept',
    params: z.object({}),
    body: z.strictObject({ token: invitationTokenSchema }),
    replies: { 201: membershipSchema },
    handle: ({ actor, body, write }) => service.accept(write, body.token, assertLoggedIn(actor).personId),
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/me/tenants',
    operationId: 'listOwnTenants',
    tag: 'account',
    summary: 'List the tenants that I belong to; a page may be short, nextCursor leads on',
    action: 'account.read',
    params: z.object({}),
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(membershipSchema) },
    handle: ({ actor, query }) => {
      const { personId } = assertLoggedIn(actor);
      const rolesIn = (tenantId: TenantId) => findMember(store, tenantId, personId)?.roles;
      const view = ({ tenantId, key, name }: TenantRecord) => ({
        tenantId,
        tenantKey: key,
        name,
        roles: [...(rolesIn(tenantId) ?? [])],
      });
      const keep = ({ tenantId }: TenantRecord): boolean => rolesIn(tenantId) !== undefined;
      return { status: 200, body: listPage(store, keys.tenants(), query, view, { keep }) };
    },
  });
}
