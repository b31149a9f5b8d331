import type { EnvironmentRef } from '@guidon/protocol';
import { encodeConfigMessage, encodeSigned } from '@guidon/protocol/msgpack';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { notFound, problemSchema } from '../admin-api/problems.js';
import type { ControlPlaneCore } from '../core.js';
import type { StoreReader } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { configMessage, findAccessList } from './config-message.js';
import { renewAccessList, renewManifest } from './sign-documents.js';

const MSGPACK = 'application/msgpack';
const config = { action: 'node.read-config' } as const;
const environmentParams = z.object({ environmentId: z.string() });

/** What nodes read: digests every few seconds, then only what changed. Answers are signed documents or lead to them. */
export function registerInternalRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { store, signingKeys, releases, nodes } = core;

  app.route({
    method: 'GET',
    url: '/internal/v1/digests',
    config,
    schema: {
      ...describe(
        'readDigests',
        'Where all environments stand: root and bucket digests, or the states in some buckets',
        {
          root: z.string().optional(),
          buckets: z.array(z.string()).optional(),
          environments: z.array(z.looseObject({ environmentId: z.string() })).optional(),
        },
      ),
      // Not strict: nodes of later builds may say more than this one knows.
      querystring: z.object({
        buckets: z
          .string()
          .regex(/^[0-9a-f]{2}(,[0-9a-f]{2}){0,255}$/, 'must be buckets in hex, such as 0a,ff')
          .optional(),
      }),
    },
    handler: (request, reply) => {
      const { buckets } = request.query as { buckets?: string };
      const node = request.headers['x-guidon-node'];
      // Who polls is alive.
      if (typeof node === 'string' && !nodes.touch(node)) reply.header('x-guidon-node', 'unknown');
      const digests = releases.digestsFor(isCanary(request));
      if (buckets !== undefined) {
        const named = new Set(buckets.split(',').map((bucket) => Number.parseInt(bucket, 16)));
        return reply.send({ environments: [...named].flatMap((bucket) => digests.statesOf(bucket)) });
      }
      const root = digests.root();
      reply.header('etag', `"${root}"`);
      if (request.headers['if-none-match'] === `"${root}"`) return reply.code(304).send();
      return reply.send({ root, buckets: digests.bucketDigests() });
    },
  });

  app.route({
    method: 'GET',
    url: '/internal/v1/environments/:environmentId/config',
    config,
    schema: {
      ...describe('readConfig', 'The newest revision: signed manifest and definitions, as a change from `since`'),
      params: environmentParams,
      querystring: z.object({ since: z.coerce.number().int().min(0).optional() }),
    },
    handler: (request, reply) => {
      const { since } = request.query as { since?: number };
      const environment = getEnvironmentRef(store, request.params);
      const message = configMessage(store, environment, {
        since,
        revision: releases.revisionFor(environment, isCanary(request)),
        renew: (signed) => renewManifest(environment, signed, core.now(), signingKeys.signingKey),
      });
      return reply.type(MSGPACK).send(Buffer.from(encodeConfigMessage(message)));
    },
  });

  app.route({
    method: 'GET',
    url: '/internal/v1/environments/:environmentId/access',
    config,
    schema: { ...describe('readAccessList', 'The signed list of SDK keys'), params: environmentParams },
    handler: (request, reply) => {
      const accessList = findAccessList(store, getEnvironmentRef(store, request.params));
      if (accessList === undefined) throw notFound();
      const inForce = renewAccessList(accessList, core.now(), signingKeys.signingKey);
      return reply.type(MSGPACK).send(Buffer.from(encodeSigned(inForce)));
    },
  });

  app.route({
    method: 'GET',
    url: '/internal/v1/key-set',
    config,
    schema: describe('readKeySet', 'The signing keys in force, signed by the root key'),
    handler: (_, reply) =>
      reply
        .type(MSGPACK)
        .send(Buffer.from(encodeSigned(signingKeys.keySet, { rootPublicKey: signingKeys.rootPublicKey }))),
  });
}

/** A node that takes each revision before the others says so. */
const isCanary = ({ headers }: FastifyRequest): boolean => headers['x-guidon-canary'] === '1';

function getEnvironmentRef(store: StoreReader, params: unknown): EnvironmentRef {
  const { environmentId } = params as z.infer<typeof environmentParams>;
  const environment = store.find<EnvironmentRef>(keys.environmentOwner(environmentId));
  // Of a tenant that is being removed, some are still there.
  if (environment === undefined || !store.has(keys.tenant(environment.tenantId))) throw notFound();
  return environment;
}

function describe(operationId: string, summary: string, json?: z.ZodRawShape): object {
  const problem = (description: string) => ({
    description,
    content: { 'application/problem+json': { schema: problemSchema } },
  });
  const content =
    json === undefined ? { [MSGPACK]: { schema: z.unknown() } } : { 'application/json': { schema: z.object(json) } };
  return {
    operationId,
    tags: ['nodes'],
    summary,
    security: [{ bearer: [] }],
    response: {
      200: { description: 'Success', content },
      400: problem('The request is malformed'),
      401: problem('The credential is missing or not valid'),
      403: problem('Not a node credential'),
      404: problem('There is no such environment'),
    },
  };
}
