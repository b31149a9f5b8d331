import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { listPage, listQuerySchema, pageSchema } from '../admin-api/pagination.js';
import { environmentParams } from '../admin-api/params.js';
import { patchBody, readPatch, registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { getEnvironment, refOf } from '../environments/environment-read-model.js';
import { keys } from '../store/keys.js';
import { getCredential } from './credential-read-model.js';
import type { CredentialRecord } from './credential-record.js';
import {
  type CredentialView,
  createCredentialBody,
  credentialSchema,
  newCredentialSchema,
  rotateCredentialBody,
  viewCredential,
} from './credential-schemas.js';
import { CredentialService, replyOf } from './credential-service.js';

const CREDENTIALS = '/api/v1/tenants/:tenantId/projects/:projectKey/environments/:environmentKey/credentials';
const CREDENTIAL = `${CREDENTIALS}/:credentialId`;
const credentialParams = environmentParams.extend({ credentialId: z.string() });

export function registerCredentialRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new CredentialService(core);
  registerReads(app, core);

  registerRoute(app, {
    method: 'POST',
    url: CREDENTIALS,
    operationId: 'createCredential',
    tag: 'credentials',
    summary: 'Create an SDK key',
    description: 'The token is in this answer and nowhere else.',
    action: 'credential.create',
    params: environmentParams,
    body: createCredentialBody,
    replies: { 201: newCredentialSchema },
    handle: ({ params, body, write }) => service.create(write, params, body),
  });

  registerRoute(app, {
    method: 'PATCH',
    url: CREDENTIAL,
    operationId: 'updateCredential',
    tag: 'credentials',
    summary: 'Edit name, rights, quotas or end of an SDK key',
    action: 'credential.update',
    params: credentialParams,
    body: patchBody,
    changesExisting: true,
    replies: { 200: credentialSchema },
    handle: ({ params, body, write }) => service.update(write, params, params.credentialId, readPatch({ body, write })),
  });

  registerRoute(app, {
    method: 'POST',
    url: `${CREDENTIAL}/revoke`,
    operationId: 'revokeCredential',
    tag: 'credentials',
    summary: 'Revoke an SDK key for good',
    action: 'credential.revoke',
    params: credentialParams,
    changesExisting: true,
    replies: { 200: credentialSchema },
    handle: ({ params, write }) => service.revoke(write, params, params.credentialId),
  });

  registerRoute(app, {
    method: 'POST',
    url: `${CREDENTIAL}/rotate`,
    operationId: 'rotateCredential',
    tag: 'credentials',
    summary: 'Replace an SDK key; both work during the overlap',
    action: 'credential.rotate',
    params: credentialParams,
    body: rotateCredentialBody,
    changesExisting: true,
    replies: { 201: newCredentialSchema },
    handle: ({ params, body, write }) => service.rotate(write, params, params.credentialId, body),
  });
}

function registerReads(app: FastifyInstance, { store }: ControlPlaneCore): void {
  registerRoute(app, {
    method: 'GET',
    url: CREDENTIALS,
    operationId: 'listCredentials',
    tag: 'credentials',
    summary: 'List the SDK keys of an environment',
    action: 'credential.list',
    params: environmentParams,
    query: listQuerySchema,
    isList: true,
    replies: { 200: pageSchema(credentialSchema) },
    handle: ({ params, query }) => {
      const range = keys.credentials(getEnvironment(store, params).environment);
      return { status: 200, body: listPage<CredentialRecord, CredentialView>(store, range, query, viewCredential) };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: CREDENTIAL,
    operationId: 'getCredential',
    tag: 'credentials',
    summary: 'Read an SDK key, without its secret',
    action: 'credential.read',
    params: credentialParams,
    replies: { 200: credentialSchema },
    handle: ({ params }) => {
      const { environment } = getEnvironment(store, params);
      return replyOf(getCredential(store, refOf(environment), params.credentialId));
    },
  });
}
