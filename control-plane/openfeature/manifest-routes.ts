import type { Problem } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { projectParams } from '../admin-api/params.js';
import { type Action, authorise } from '../admin-api/policy.js';
import { sendProblem } from '../admin-api/problems.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ResourceReader } from '../admin-api/resource-reader.js';
import type { ControlPlaneCore } from '../core.js';
import { manifestCreateSchema, manifestFlagSchema, manifestUpdateSchema } from './manifest-flag.js';
import { ManifestService } from './manifest-service.js';

const MANIFEST = '/api/v1/tenants/:tenantId/projects/:projectKey/openfeature/v0/manifest';
const FLAGS = `${MANIFEST}/flags`;
const FLAG = `${FLAGS}/:flagKey`;
const flagParams = projectParams.extend({ flagKey: z.string() });
const timeSchema = z.iso.datetime();
const flagAnswerSchema = z
  .object({ flag: manifestFlagSchema, updatedAt: timeSchema })
  .meta({ id: 'ManifestFlagAnswer' });
const archivedSchema = z.object({ message: z.string(), archivedAt: timeSchema });
const ABOUT =
  'Part of the manifest API of OpenFeature, version 0, whose base URL is that of the project. Errors are problem documents with a member `error` {message, status, details} besides; what is not valid is 400, a write that lost against another one 409.';

/** What an `X-Manifest-Capabilities` names, by what the policy calls it. */
const CAPABILITIES: readonly (readonly [name: string, actions: readonly Action[]])[] = [
  ['read', ['flag.list']],
  ['write', ['flag.create', 'flag.update']],
  ['delete', ['flag.archive']],
];

/** The manifest API of OpenFeature: what `openfeature pull`, `push` and `generate` ask. A scope of its own, for its errors have a shape of their own. */
export function registerManifestRoutes(app: FastifyInstance, core: ControlPlaneCore, resources: ResourceReader): void {
  const service = new ManifestService(core);
  void app.register(async (scope) => {
    scope.setErrorHandler((error, request, reply) => sendProblem(error, request, reply, manifestProblem));
    scope.addHook('preHandler', async (request, reply) => {
      const { actor } = request.authenticated ?? {};
      if (actor === undefined) return;
      const resource = resources.resourceOf(request.params);
      const may = (action: Action): boolean => authorise(actor, action, resource).verdict === 'allow';
      const names = CAPABILITIES.filter(([, actions]) => actions.every(may)).map(([name]) => name);
      reply.header('x-manifest-capabilities', names.join(','));
    });
    registerOperations(scope, service);
  });
}

function registerOperations(scope: FastifyInstance, service: ManifestService): void {
  registerRoute(scope, {
    method: 'GET',
    url: MANIFEST,
    operationId: 'readManifest',
    tag: 'openfeature',
    summary: 'Read the flags of a project as a manifest of OpenFeature',
    description: `${ABOUT} Archived flags are left out.`,
    action: 'flag.list',
    params: projectParams,
    replies: { 200: z.object({ flags: z.array(manifestFlagSchema) }) },
    handle: ({ params }) => service.read(params.tenantId, params.projectKey),
  });

  registerRoute(scope, {
    method: 'POST',
    url: FLAGS,
    operationId: 'createManifestFlag',
    tag: 'openfeature',
    summary: 'Create a flag from a manifest',
    description: `${ABOUT} The flag is off in every environment, which is to serve the default. It gets the variations \`on\` and \`off\`, or \`false\` and \`true\` where the default is true; of other types one, \`default\`.`,
    action: 'flag.create',
    params: projectParams,
    body: manifestCreateSchema,
    replies: { 201: flagAnswerSchema },
    handle: ({ params, body, write }) => service.create(write, params.tenantId, params.projectKey, body),
  });

  registerRoute(scope, {
    method: 'PUT',
    url: FLAG,
    operationId: 'updateManifestFlag',
    tag: 'openfeature',
    summary: 'Replace what a manifest says of a flag',
    description: `${ABOUT} Members left out stay. A new default replaces the value of the variation that has the old one, in every environment; of a boolean flag it cannot be changed here, and the type never.`,
    action: 'flag.update',
    params: flagParams,
    body: manifestUpdateSchema,
    replies: { 200: flagAnswerSchema },
    handle: ({ params, body, write }) =>
      service.update(write, params.tenantId, params.projectKey, params.flagKey, body),
  });

  registerRoute(scope, {
    method: 'DELETE',
    url: FLAG,
    operationId: 'deleteManifestFlag',
    tag: 'openfeature',
    summary: 'Archive a flag',
    description: `${ABOUT} No environment serves it any more; it can be taken out of the archive.`,
    action: 'flag.archive',
    params: flagParams,
    replies: { 200: archivedSchema },
    handle: ({ params, write }) => service.archive(write, params.tenantId, params.projectKey, params.flagKey),
  });
}

function manifestProblem(problem: Problem): Problem {
  const status = problem.status === 422 ? 400 : problem.status === 412 ? 409 : problem.status;
  const details = (problem.errors ?? []).map(({ pointer, code, detail }) => ({
    field: pointer.slice(1).replaceAll('/', '.'),
    code,
    message: detail,
  }));
  return { ...problem, status, error: { message: problem.detail, status, details } };
}
