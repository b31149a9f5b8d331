import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { keySetSchema, SigningKeyService } from './signing-key-service.js';

const keyParams = z.object({ keyId: z.string() });

/** The keys that manifests, access lists and tree heads are signed with, and their rotation. */
export function registerSigningKeyRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const service = new SigningKeyService(core);

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/signing-keys',
    operationId: 'listSigningKeys',
    tag: 'signing keys',
    summary: 'The key set in force: which key signs, which comes next, which have signed',
    action: 'signing-key.list',
    params: z.object({}),
    replies: { 200: keySetSchema },
    handle: () => {
      const body = service.view();
      return { status: 200, body, etag: body.version };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/signing-keys',
    operationId: 'introduceSigningKey',
    tag: 'signing keys',
    summary: 'Make the next key and name it in the key set',
    description:
      'Nothing is signed with it yet. Nodes read the key set about once a minute, and at once when something is signed with a key they do not know.',
    action: 'signing-key.introduce',
    params: z.object({}),
    replies: { 201: keySetSchema },
    handle: ({ write }) => service.introduce(write),
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/signing-keys/:keyId/activate',
    operationId: 'activateSigningKey',
    tag: 'signing keys',
    summary: 'Sign with the next key from now on; the one before is retired',
    description: 'What the retired key has signed holds. What claims to be signed by it later is refused everywhere.',
    action: 'signing-key.activate',
    params: keyParams,
    changesExisting: true,
    replies: { 200: keySetSchema },
    handle: ({ write, params }) => service.activate(write, params.keyId),
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/signing-keys/:keyId/revoke',
    operationId: 'revokeSigningKey',
    tag: 'signing keys',
    summary: 'Trust nothing that this key has ever signed',
    description:
      'For a key that others may have. The key that signs cannot be revoked: activate another one first. Nodes fetch again what they hold from it.',
    action: 'signing-key.revoke',
    params: keyParams,
    changesExisting: true,
    replies: { 200: keySetSchema },
    handle: ({ write, params }) => service.revoke(write, params.keyId),
  });
}
