import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { pageSchema } from '../admin-api/pagination.js';
import { notFound, problemSchema } from '../admin-api/problems.js';
import { registerRoute } from '../admin-api/register-route.js';
import type { Reply, WriteRequest } from '../commit/change.js';
import type { RevisionRow } from '../commit/definition-store.js';
import type { ControlPlaneCore } from '../core.js';
import type { StageView } from '../releases/release-gate.js';
import { INSTALLATION, keys } from '../store/keys.js';
import { type NodeStatus, nodeStatusSchema, nodeViewSchema, propagationSchema, stageSchema } from './node-directory.js';

const STATUS_BYTES_MAX = 8 * 1024 * 1024;

/** Nodes report what they serve and what they refused; the installation's admins read it. */
export function registerNodeRoutes(app: FastifyInstance, core: ControlPlaneCore): void {
  const { nodes, releases } = core;
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
        409: problem('It builds on a report that was not heard: send everything'),
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
      assertOwnNode(request, status.nodeId);
      for (const { environmentId, quarantined } of status.environments) {
        for (const { revision, reason } of quarantined) {
          core.logger.warn({ nodeId: status.nodeId, environmentId, revision, reason }, 'a node refused a revision');
        }
      }
      for (const { owner, size, shownSize, reason } of status.witness?.inconsistent ?? []) {
        core.logger.error({ nodeId: status.nodeId, owner, size, shownSize, reason }, 'an audit log was changed');
      }
      if (!nodes.report(status)) throw new PlatformError('conflict', 'the report before this one was not heard');
      return reply.code(204).send();
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/nodes',
    operationId: 'listNodes',
    tag: 'nodes',
    summary: 'List data-plane nodes with how far each is and what it refused, as they last said',
    action: 'node.list',
    params: z.object({}),
    replies: { 200: pageSchema(nodeViewSchema) },
    handle: () => ({
      status: 200,
      body: { items: nodes.list((isCanary) => releases.digestsFor(isCanary).states()), nextCursor: null },
    }),
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/status',
    operationId: 'readStatus',
    tag: 'nodes',
    summary: 'The bus, what waits to be published, and what waits for canaries',
    action: 'node.list',
    params: z.object({}),
    replies: { 200: installationStatusSchema },
    handle: () => {
      const stages = releases.stages();
      return {
        status: 200,
        body: {
          bus: core.bus.status(),
          environmentCount: releases.states().length,
          outboxCount: core.store.list(keys.outboxRows()).length,
          stagedCount: stages.length,
          // What needs somebody comes first.
          staged: stages
            .sort((a, b) => Number(b.state === 'stopped') - Number(a.state === 'stopped'))
            .slice(0, STAGED_VIEW_MAX),
        },
      };
    },
  });

  registerRoute(app, {
    method: 'GET',
    url: '/api/v1/revisions/:environmentId/:revision/propagation',
    operationId: 'readPropagation',
    tag: 'revisions',
    summary: 'Which nodes serve a revision, since when, and to how many streams',
    description:
      'A node that serves a newer revision counts as serving this one. A write waits for it with `Prefer: wait=5`.',
    action: 'revision.read',
    params: z.object({ environmentId: z.string(), revision: z.coerce.number().int().min(1) }),
    replies: { 200: propagationSchema },
    handle: ({ params: { environmentId, revision } }) => {
      const environment = core.store.find<EnvironmentRef>(keys.environmentOwner(environmentId));
      const row = environment && core.store.find<RevisionRow>(keys.revision(environment, revision));
      if (row === undefined) throw notFound();
      const { epoch, at: committedAt } = row;
      return {
        status: 200,
        body: {
          environmentId,
          epoch,
          revision,
          committedAt,
          ...stagedAt(releases.findStage(environmentId), revision),
          ...nodes.propagation(environmentId, { epoch, revision }),
        },
      };
    },
  });

  registerRoute(app, {
    method: 'POST',
    url: '/api/v1/revisions/:environmentId/:revision/release',
    operationId: 'releaseRevision',
    tag: 'revisions',
    summary: 'Give a revision to all nodes, whatever the canaries say',
    action: 'revision.release',
    params: z.object({ environmentId: z.string(), revision: z.coerce.number().int().min(1) }),
    replies: { 204: null },
    handle: ({ write, params }) => releaseRevision(core, write, params),
  });
}

async function releaseRevision(
  { committer, releases }: ControlPlaneCore,
  write: WriteRequest,
  { environmentId, revision }: { readonly environmentId: string; readonly revision: number },
): Promise<Reply> {
  let position: { readonly epoch: number; readonly revision: number } | undefined;
  const reply = await committer.commit(write, undefined, () => {
    const { epoch, released } = releases.mustHold(environmentId, revision);
    position = { epoch, revision };
    return {
      owner: INSTALLATION,
      action: 'revision.release',
      subject: `revisions/${environmentId}/${revision}`,
      summary: `Released revision ${revision} of ${environmentId} to all nodes`,
      before: { released },
      after: { released: revision },
      records: [],
      rows: [{ key: keys.released(environmentId), value: position }],
      reply: () => ({ status: 204, body: undefined }),
    };
  });
  if (!write.dryRun && position !== undefined) releases.releaseNow(environmentId, position);
  return reply;
}

/** Present while the revision, or an older one, waits for canaries. */
function stagedAt(stage: StageView | undefined, revision: number): { staged?: StageView } {
  return stage === undefined || revision <= stage.released ? {} : { staged: stage };
}

const STAGED_VIEW_MAX = 100;

const installationStatusSchema = z
  .object({
    bus: z.object({ kind: z.enum(['in-process', 'nats']), isConnected: z.boolean(), detail: z.string() }),
    environmentCount: z.int(),
    outboxCount: z.int().describe('Changes that the bus has not taken yet'),
    stagedCount: z.int().describe('Environments whose newest revision not all nodes are given yet'),
    staged: z.array(stageSchema).describe('Of them at most 100, stopped ones first'),
  })
  .meta({ id: 'InstallationStatus' });

/** A node speaks for itself alone: its id is that of its credential, with a suffix where several nodes share one. */
function assertOwnNode(request: FastifyRequest, nodeId: string): void {
  const actor = request.authenticated?.actor;
  const own = actor !== undefined && 'credentialId' in actor ? String(actor.credentialId) : '';
  if (nodeId === own || nodeId.startsWith(`${own}-`)) return;
  throw new PlatformError('forbidden', 'a node reports under the id of its own credential');
}
