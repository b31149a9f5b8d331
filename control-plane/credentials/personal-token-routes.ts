import type { TenantId } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { assertLoggedIn } from '../admin-api/actor.js';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { keySchema, tenantParams } from '../admin-api/params.js';
import { notFound } from '../admin-api/problems.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keys } from '../store/keys.js';
import {
  createPlatformCredentialBody,
  newPlatformCredentialSchema,
  type PlatformCredentialOwner,
  PlatformCredentialService,
  platformCredentialSchema,
} from './platform-credential-service.js';
import type { PlatformCredentialRecord } from './stored-credential.js';

const TOKENS = '/api/v1/tenants/:tenantId/me/tokens';

const createBody = createPlatformCredentialBody.extend({
  roles: z
    .array(keySchema)
    .max(20)
    .default([])
    .describe('It may what these may and I may, both; none: whatever I may, from day to day'),
});

/** Admin tokens of a person: they may at most what he may at that moment, and end with his membership. */
export function registerPersonalTokenRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store } = core;
  const serviceOf = (tenantId: TenantId) =>
    new PlatformCredentialService(core, {
      kind: 'adm',
      scope: tenantId,
      actions: { create: 'personal-token.create', revoke: 'personal-token.revoke' },
    } satisfies PlatformCredentialOwner);

  registerRoute(app, {
    method: 'GET',
    url: TOKENS,
    operationId: 'listPersonalTokens',
    tag: 'account',
    summary: 'List my tokens of a tenant',
    action: 'personal-token.list',
    params: tenantParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(platformCredentialSchema) },
    handle: ({ actor, params: { tenantId }, query }) => {
      const { personId } = assertLoggedIn(actor);
      const { view } = serviceOf(tenantId);
      const keep = (token: PlatformCredentialRecord): boolean => token.personId === personId;
      return { status: 200, body: listPage(store, keys.adminCredentials(tenantId), query, view, { keep }) };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: TOKENS,
    operationId: 'createPersonalToken',
    tag: 'account',
    summary: 'Create a token that may what I may, or less',
    description: 'The token is in this answer and nowhere else.',
    action: 'personal-token.create',
    params: tenantParams,
    body: createBody,
    replies: { 201: newPlatformCredentialSchema },
    handle: ({ actor, params: { tenantId }, body, write }) => {
      const { personId } = assertLoggedIn(actor);
      return serviceOf(tenantId).create(write, { ...body, personId });
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: `${TOKENS}/:credentialId/revoke`,
    operationId: 'revokePersonalToken',
    tag: 'account',
    summary: 'Revoke one of my tokens for good',
    action: 'personal-token.revoke',
    params: tenantParams.extend({ credentialId: z.string() }),
    changesExisting: true,
    replies: { 200: platformCredentialSchema },
    handle: ({ actor, params: { tenantId, credentialId }, write }) => {
      const { personId } = assertLoggedIn(actor);
      const token = store.find<PlatformCredentialRecord>(keys.adminCredential(tenantId, credentialId));
      if (token?.personId !== personId) throw notFound();
      return serviceOf(tenantId).revoke(write, credentialId);
    },
  });
}
