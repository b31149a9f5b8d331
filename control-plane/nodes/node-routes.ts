import { PlatformError } from '@guidon/protocol';
import type { FastifyInstance } from 'fastify';
import { z } from 'zod';
import { pageSchema } from '../admin-api/pagination.js';
import { timestampSchema } from '../admin-api/params.js';
import { problemSchema } from '../admin-api/problems.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { ControlPlaneCore } from '../core.js';
import { NodeDirectory, type NodeStatus, nodeStatusSchema } from './node-directory.js';

const STATUS_BYTES_MAX = 8 * 1024 * 1024;

/** Nodes report what they serve and what they refused; the installation's admins read it. */
export function registerNodeRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const directory = new NodeDirectory();
  const problem = (description: string) => ({
    description,
    content: { 'application/problem+json': { schema: problemSchema } },
  });

  app.route({
    method: 'POST',
    url: '/internal/v1/nodes/:nodeId/status',
    config: { action: 'node.report-status', takesBody: true },
    bodyLimit: STATUS_BYTES_MAX,
    schema: {
      operationId: 'reportNodeStatus',
      tags: ['nodes'],
      summary: 'What a node serves and what it refused',
      security: [{ bearer: [] }],
      params: z.object({ nodeId: z.string() }),
      querystring: z.strictObject({}),
      body: nodeStatusSchema,
      response: {
        204: z.null().describe('Taken'),
        400: problem('The request is malformed'),
        401: problem('The credential is missing or not valid'),
        403: problem('Not a node credential'),
        404: problem('The path names no node id'),
        413: problem('The body is too large'),
        422: problem('Not valid; errors holds JSON pointers'),
      },
    },
    handler: (request, reply) => {
      const status = request.body as NodeStatus;
      if (status.nodeId !== (request.params as { nodeId: string }).nodeId) {
        const issue = { pointer: '/nodeId', code: 'validation-failed', detail: 'must be the id in the path' } as const;
        throw new PlatformError('validation-failed', issue.detail, { issues: [issue] });
      }
      for (const { environmentId, quarantined } of status.environments) {
        for (const { revision, reason } of quarantined) {
          core.logger.warn({ nodeId: status.nodeId, environmentId, revision, reason }, 'a node refused a revision');
        }
      }
      for (const { owner, size, shownSize, reason } of status.witness?.inconsistent ?? []) {
        core.logger.error({ nodeId: status.nodeId, owner, size, shownSize, reason }, 'an audit log was changed');
      }
      directory.report(status, core.now());
      return reply.code(204).send();
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/nodes',
    operationId: 'listNodes',
    tag: 'nodes',
    summary: 'List data-plane nodes with what each serves and refused, as they last said',
    action: 'node.list',
    params: z.object({}),
    replies: { 200: pageSchema(nodeStatusSchema.extend({ at: timestampSchema }).meta({ id: 'Node' })) },
    handle: () => ({ status: 200, body: { items: directory.list(), nextCursor: null } }),
  });
}
