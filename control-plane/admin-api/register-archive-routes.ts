import type { FastifyInstance } from 'fastify';
import type { z } from 'zod';
import type { Reply, WriteRequest } from '../commit/change.js';
import type { Action } from './policy.js';
import { registerRoute } from './register-route.js';

/** `POST <url>/archive` and `POST <url>/unarchive` of a noun: archiving comes before deleting, and can be taken back. */
export function registerArchiveRoutes<Params extends z.ZodType>(
  app: FastifyInstance,
  noun: {
    /** Of one thing. */
    readonly url: string;
    /** As it stands in operation ids, such as `Flag`. */
    readonly name: string;
    readonly tag: string;
    /** What archiving does, for the reference. */
    readonly summary: string;
    readonly action: Action;
    readonly params: Params;
    readonly reply: z.ZodType;
    setArchived(write: WriteRequest, params: z.infer<Params>, isArchived: boolean): Promise<Reply>;
  },
): void {
  for (const [verb, isArchived] of [
    ['archive', true],
    ['unarchive', false],
  ] as const) {
    registerRoute(app, {
      method: 'POST',
      url: `${noun.url}/${verb}`,
      operationId: `${verb}${noun.name}`,
      tag: noun.tag,
      summary: isArchived ? noun.summary : `Take a ${noun.name.toLowerCase()} out of the archive`,
      action: noun.action,
      params: noun.params,
      changesExisting: true,
      replies: { 200: noun.reply },
      handle: ({ params, write }) => noun.setArchived(write, params, isArchived),
    });
  }
}
