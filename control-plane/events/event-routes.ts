import { PlatformError } from '@guidon/protocol';
import { EVENT_LINES_BYTES_MAX } from '@guidon/protocol/events';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { problemSchema } from '../admin-api/problems.js';
import type { ControlPlaneCore } from '../core.js';

const NDJSON = 'application/x-ndjson';
const problem = (description: string) => ({
  description,
  content: { 'application/problem+json': { schema: problemSchema } },
});

/** What nodes send of events, their own and those of SDKs: lines of messages (protocol/events). Answered once they are durable. */
export function registerEventRoutes(app: FastifyInstance, { events }: ControlPlaneCore): void {
  // A scope of its own: only here a body may be lines.
  void app.register(async (scope) => {
    scope.addContentTypeParser(NDJSON, { parseAs: 'buffer' }, async (_: FastifyRequest, body: Buffer) => decode(body));
    scope.route({
      method: 'POST',
      url: '/internal/v1/events',
      config: { action: 'node.send-events', takesBody: true },
      bodyLimit: EVENT_LINES_BYTES_MAX,
      schema: {
        operationId: 'sendEvents',
        tags: ['nodes'],
        summary: 'Take events that a node has gathered, at least once; events that came before are known by their ids',
        security: [{ bearer: [] }],
        consumes: [NDJSON],
        querystring: z.strictObject({}),
        body: z.string().describe('One message a line'),
        response: {
          200: {
            description: 'Success',
            content: { 'application/json': { schema: outcomeSchema } },
          },
          400: problem('The request is malformed'),
          401: problem('The credential is missing or not valid'),
          403: problem('Not a node credential'),
          404: problem('Not there'),
          411: problem('Send a Content-Length'),
          413: problem('The body is too large'),
          415: problem('Media type not supported'),
          422: problem('Not valid'),
          503: problem('Send it again later'),
        },
      },
      handler: async (request, reply) => reply.send(await events.take(String(request.body))),
    });
  });
}

const outcomeSchema = z.object({
  accepted: z.int(),
  duplicates: z.int().describe('Counted before'),
  homeless: z.int().describe('Of environments that are not there'),
});

const utf8 = new TextDecoder('utf-8', { fatal: true });

function decode(body: Buffer): string {
  try {
    return utf8.decode(body);
  } catch (cause) {
    throw new PlatformError('malformed-body', 'the body is not UTF-8', { cause });
  }
}
