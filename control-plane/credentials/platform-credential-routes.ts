import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { tenantParams } from '../admin-api/params.js';
import type { Action } from '../admin-api/policy.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { INSTALLATION } from '../store/keys.js';
import { getTenant } from '../tenants/tenant-read-model.js';
import {
  createMemberCredentialBody,
  createPlatformCredentialBody,
  newPlatformCredentialSchema,
  type PlatformCredentialOwner,
  PlatformCredentialService,
  type PlatformCredentialView,
  platformCredentialSchema,
} from './platform-credential-service.js';
import type { PlatformCredentialRecord } from './stored-credential.js';

const TENANT_ADMIN_ACTIONS = { create: 'admin-credential.create', revoke: 'admin-credential.revoke' } as const;
export const INSTALLATION_ADMINS: PlatformCredentialOwner = {
  kind: 'adm',
  scope: INSTALLATION,
  actions: { create: 'installation-credential.create', revoke: 'installation-credential.revoke' },
};
export const NODES: PlatformCredentialOwner = {
  kind: 'node',
  scope: INSTALLATION,
  actions: { create: 'node-credential.create', revoke: 'node-credential.revoke' },
};

export function registerPlatformCredentialRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  registerFamily(app, core, {
    url: '/api/v1/node-credentials',
    noun: 'NodeCredential',
    words: 'credential for data-plane nodes',
    actions: { list: 'node-credential.list', ...NODES.actions },
    params: z.object({}),
    body: createPlatformCredentialBody,
    ownerOf: () => NODES,
  });
  registerFamily(app, core, {
    url: '/api/v1/admin-credentials',
    noun: 'InstallationAdminCredential',
    words: 'credential of an installation admin',
    actions: { list: 'installation-credential.list', ...INSTALLATION_ADMINS.actions },
    params: z.object({}),
    body: createPlatformCredentialBody,
    ownerOf: () => INSTALLATION_ADMINS,
  });
  registerFamily(app, core, {
    url: '/api/v1/tenants/:tenantId/admin-credentials',
    noun: 'AdminCredential',
    words: 'service account of a tenant (an admin token that is nobody’s)',
    actions: { list: 'admin-credential.list', ...TENANT_ADMIN_ACTIONS },
    params: tenantParams,
    body: createMemberCredentialBody,
    ownerOf: ({ tenantId }) => {
      getTenant(core.store, tenantId);
      return { kind: 'adm', scope: tenantId, actions: TENANT_ADMIN_ACTIONS };
    },
  });
}

interface Family<Params extends z.ZodObject> {
  readonly url: string;
  readonly noun: string;
  readonly words: string;
  readonly actions: { readonly list: Action; readonly create: Action; readonly revoke: Action };
  readonly params: Params;
  readonly body: typeof createPlatformCredentialBody | typeof createMemberCredentialBody;
  readonly ownerOf: (params: z.infer<Params>) => PlatformCredentialOwner;
}

function registerFamily<Params extends z.ZodObject>(
  app: FastifyInstance,
  core: ControlPlaneCore,
  { url, noun, words, actions, params, body, ownerOf }: Family<Params>,
): void {
  const service = (values: z.infer<Params>) => new PlatformCredentialService(core, ownerOf(values));

  registerRoute(app, {
    method: 'GET',
    url,
    operationId: `list${noun}s`,
    tag: 'credentials',
    summary: `List every ${words}`,
    action: actions.list,
    params,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(platformCredentialSchema) },
    handle: (input) => {
      const { range, view } = service(input.params);
      const { store } = core;
      return {
        status: 200,
        body: listPage<PlatformCredentialRecord, PlatformCredentialView>(store, range, input.query, view),
      };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url,
    operationId: `create${noun}`,
    tag: 'credentials',
    summary: `Create a ${words}`,
    description: 'The token is in this answer and nowhere else.',
    action: actions.create,
    params,
    body,
    replies: { 201: newPlatformCredentialSchema },
    handle: (input) => service(input.params).create(input.write, input.body),
  });

  registerRoute(app, {
    method: 'POST',
    url: `${url}/:credentialId/revoke`,
    operationId: `revoke${noun}`,
    tag: 'credentials',
    summary: `Revoke a ${words} for good`,
    action: actions.revoke,
    params: params.extend({ credentialId: z.string() }),
    changesExisting: true,
    replies: { 200: platformCredentialSchema },
    handle: (input) => {
      const values = input.params as z.infer<Params> & { credentialId: string };
      return service(values).revoke(input.write, values.credentialId);
    },
  });
}
