import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { type Json, PlatformError } from '@guidon/protocol';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ChangeOutcome, Reply, WriteRequest } from '../commit/change.js';
import { etagOf } from '../commit/if-match.js';
import type { Propagation, WrittenRevision } from '../nodes/propagation.js';
import { Cookies } from '../sessions/cookies.js';
import { type Actor, ANONYMOUS_ACTOR, scopeOf } from './actor.js';
import { EventStream, sendEventStream } from './event-stream.js';
import { FileBody } from './file-body.js';
import type { IdempotencyClaim, IdempotencyKeys, StoredReply } from './idempotency.js';
import { JSON_PATCH, MERGE_PATCH, mediaTypeOf, type Patch } from './patch.js';
import type { Action } from './policy.js';
import { addPropagation } from './prefer-wait.js';
import { problemSchema } from './problems.js';
import { RequestLife } from './request-life.js';
import { originOf } from './request-origin.js';

declare module 'fastify' {
  interface FastifyInstance {
    idempotencyKeys: IdempotencyKeys;
    propagation: Propagation;
  }
  interface FastifyRequest {
    /** SHA-256 of the body as received, hex; '' without one. */
    bodyDigest: string;
  }
}

/** What a handler is given. `write` goes on to the committer untouched. */
export interface RouteInput<Params, Query, Body> {
  readonly actor: Actor;
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly write: WriteRequest;
  /** For what logs in and out; every other route has its actor. */
  readonly cookies: Cookies;
  /** For what is answered later than it was asked. */
  readonly life: RequestLife;
}

export interface RouteDefinition<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType> {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Fastify pattern. Parameters called `…Id` must be ids, all others keys, else the answer is 404. */
  readonly url: string;
  /** Unique, a verb and a noun. */
  readonly operationId: string;
  readonly tag: string;
  readonly summary: string;
  readonly description?: string;
  /** What the policy decides about. */
  readonly action?: Action;
  /** Instead of an action: why everybody may call it. Its actor is `anonymous`. */
  readonly publicBecause?: string;
  readonly params: Params;
  /** Unknown parameters are refused; writes take `dryRun` besides, unless they are public. */
  readonly query?: Query;
  /** Strict objects only, so that `tenantId`, `role` or `revision` in a body is refused. For PATCH use `patchBody`. */
  readonly body?: Body;
  /** Media types of the body, where a parser of the route's own scope takes others than JSON. */
  readonly consumes?: readonly string[];
  /** It changes an existing thing: the plan calls `assertIfMatch`. Documents If-Match, 412 and 428. */
  readonly changesExisting?: boolean;
  /** It reads what is let go at last: what revisions served, or the feed. Documents 410. */
  readonly isHistory?: boolean;
  /** It counts attempts. Documents 429. */
  readonly isRateLimited?: boolean;
  /** An answer with `nextCursor` gets a Link to the next page. */
  readonly isList?: boolean;
  /** Media types of a 200 that is a file (FileBody) or a stream of events (EventStream); the schema of that reply says what is in it. */
  readonly fileTypes?: readonly string[];
  /** By status; `null` = no body. Dry runs and errors are added. */
  readonly replies: Readonly<Record<number, z.ZodType | null>>;
  /** Default 1 MiB. */
  readonly bodyBytesMax?: number;
  readonly handle: (input: RouteInput<z.infer<Params>, z.infer<Query>, z.infer<Body>>) => Reply | Promise<Reply>;
}

const emptyQuery = z.strictObject({});
const noBody = z.strictObject({}).nullish();
/** Which form it is says the Content-Type; `readPatch` puts the two together. */
export const patchBody = z.union([z.record(z.string(), z.unknown()), z.array(z.unknown())]).meta({
  description: `${MERGE_PATCH} (RFC 7396) or ${JSON_PATCH} (RFC 6902), by Content-Type`,
});

export const dryRunReportSchema = z.object({
  dryRun: z.literal(true),
  summary: z.string(),
  diff: z.array(
    z.object({
      op: z.enum(['add', 'remove', 'replace']),
      pointer: z.string(),
      before: z.unknown().optional(),
      after: z.unknown().optional(),
    }),
  ),
  environments: z.array(
    z.object({
      environmentId: z.string(),
      revision: z.int(),
      changedDefinitions: z.int(),
      issues: z.array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() })),
    }),
  ),
});

/** The only way a noun adds a route: identity, permission, validation, preconditions, idempotency and errors are the same everywhere. */
export function registerRoute<Params extends z.ZodType, Query extends z.ZodType, Body extends z.ZodType>(
  app: FastifyInstance,
  route: RouteDefinition<Params, Query, Body>,
): void {
  const isWrite = route.method !== 'GET';
  const takesBody = route.body !== undefined;
  // What is public makes somebody of a secret: to try that would tell whether the secret is right, and leave no trace.
  const takesDryRun = isWrite && route.publicBecause === undefined;
  const replies = takesDryRun ? { 200: dryRunReportSchema, ...route.replies } : route.replies;
  app.route({
    method: route.method,
    url: route.url,
    config: {
      takesBody,
      ...(route.action === undefined ? {} : { action: route.action }),
      ...(route.publicBecause === undefined ? {} : { publicBecause: route.publicBecause }),
    },
    ...(route.bodyBytesMax === undefined ? {} : { bodyLimit: route.bodyBytesMax }),
    schema: {
      operationId: route.operationId,
      tags: [route.tag],
      summary: route.summary,
      ...(route.description === undefined ? {} : { description: route.description }),
      ...(route.method === 'PATCH' ? { consumes: [MERGE_PATCH, JSON_PATCH] } : {}),
      ...(route.consumes === undefined ? {} : { consumes: [...route.consumes] }),
      security: route.action === undefined ? [] : [{ bearer: [] }, { apiKey: [] }, { session: [] }],
      params: route.params,
      querystring: querySchema(route.query ?? emptyQuery, takesDryRun),
      ...(isWrite ? { body: route.body ?? noBody } : {}),
      response: responsesOf(route, replies),
    },
    handler: async (request, reply) => {
      const claim = claimOf(request, route.method);
      const replayed = claim === undefined ? undefined : app.idempotencyKeys.claim(claim);
      if (replayed !== undefined) {
        return reply
          .code(replayed.status)
          .headers({ ...replayed.headers, 'idempotency-replayed': 'true' })
          .send(replayed.body);
      }
      try {
        const encode = (answer: Reply) => encodeReply(answer, replies);
        const written: WrittenRevision[] = [];
        const write = {
          ...writeRequestOf(request, app.idempotencyKeys, claim, encode),
          committed: ({ environments }: ChangeOutcome) => {
            written.push(...environments.filter(({ isRaised }) => isRaised));
          },
        };
        const { dryRun: _, ...query } = request.query as Record<string, unknown>;
        const answer = await route.handle({
          actor: actorOf(request),
          params: request.params as z.infer<Params>,
          query: query as z.infer<Query>,
          body: request.body as z.infer<Body>,
          write,
          cookies: new Cookies(request),
          life: new RequestLife(request, reply),
        });
        await addPropagation(app.propagation, request, reply, written);
        if (answer.body instanceof EventStream) return sendEventStream(request, reply, answer.body);
        if (answer.body instanceof FileBody) return sendFile(reply, answer.body);
        return send(request, reply, encode(answer), route.isList === true ? answer.body : undefined);
      } finally {
        if (claim !== undefined) app.idempotencyKeys.release(claim);
      }
    },
  });
}

/** The patch of a PATCH route's body. */
export function readPatch(input: { readonly body: unknown; readonly write: WriteRequest }): Patch {
  return { type: input.write.patchType ?? MERGE_PATCH, document: input.body as Json };
}

function actorOf(request: FastifyRequest): Actor {
  return request.authenticated?.actor ?? ANONYMOUS_ACTOR;
}

function querySchema(query: z.ZodType, takesDryRun: boolean): z.ZodType {
  if (!takesDryRun || !(query instanceof z.ZodObject)) return query;
  return query.extend({ dryRun: z.stringbool({ truthy: ['true'], falsy: ['false'] }).default(false) });
}

function writeRequestOf(
  request: FastifyRequest,
  idempotencyKeys: IdempotencyKeys,
  claim: IdempotencyClaim | undefined,
  encode: (reply: Reply) => StoredReply,
): WriteRequest {
  const { dryRun } = request.query as { dryRun?: boolean };
  return {
    actor: actorOf(request),
    requestId: request.id,
    from: originOf(request),
    ifMatch: parseIfMatch(request.headers['if-match']),
    dryRun: dryRun === true,
    comment: parseComment(request.headers['x-guidon-comment']),
    patchType: mediaTypeOf(request.headers['content-type']) === JSON_PATCH ? JSON_PATCH : MERGE_PATCH,
    remember:
      claim === undefined
        ? undefined
        : (transaction, reply) => idempotencyKeys.remember(transaction, claim, encode(reply)),
  };
}

const COMMENT_CHARS_MAX = 1_000;

/** Why the caller makes the change, percent-encoded UTF-8: a header, so that it goes with every kind of body. */
function parseComment(header: string | string[] | undefined): string {
  const refuse = (detail: string) => new PlatformError('malformed-request', `X-Guidon-Comment ${detail}`);
  let comment: string;
  try {
    comment = decodeURIComponent(String(header ?? ''));
  } catch {
    throw refuse('must be percent-encoded UTF-8');
  }
  if (comment.length > COMMENT_CHARS_MAX) throw refuse(`has at most ${COMMENT_CHARS_MAX} characters`);
  return comment;
}

/** Strong entity tags only; `*` would overwrite what the caller has not read, which is the lost update If-Match is here to stop (I5). */
function parseIfMatch(header: string | undefined): string[] | undefined {
  if (header === undefined) return undefined;
  const tags = header.split(',').map((tag) => tag.trim());
  if (tags.includes('*')) throw new PlatformError('precondition-required', 'If-Match must name an ETag, not *');
  return tags;
}

function claimOf(request: FastifyRequest, method: string): IdempotencyClaim | undefined {
  const idempotencyKey = request.headers['idempotency-key'];
  const { dryRun } = request.query as { dryRun?: boolean };
  if (method !== 'POST' || idempotencyKey === undefined || request.authenticated === undefined || dryRun === true) {
    return undefined;
  }
  const { actor, secret } = request.authenticated;
  const fingerprint = createHash('sha256').update(`${method} ${request.url}\n${request.bodyDigest}`).digest('hex');
  return {
    scope: scopeOf(actor),
    credentialId: actor.credentialId,
    secret,
    idempotencyKey: String(idempotencyKey),
    fingerprint,
  };
}

/** Only members that the schema names leave the process. */
function encodeReply(
  { status, body, etag, location, cookies }: Reply,
  replies: RouteDefinition<z.ZodType, z.ZodType, z.ZodType>['replies'],
): StoredReply {
  const headers: Record<string, string | string[]> = {};
  if (etag !== undefined) headers.etag = etagOf(etag);
  if (location !== undefined) headers.location = location;
  if (cookies !== undefined) headers['set-cookie'] = [...cookies];
  const isDryRun = typeof body === 'object' && body !== null && 'dryRun' in body;
  const schema = isDryRun ? dryRunReportSchema : replies[status];
  if (schema === undefined) throw new Error(`the route declares no reply ${status}`);
  if (schema === null) return { status, headers, body: '' };
  return {
    status,
    headers: { ...headers, 'content-type': 'application/json; charset=utf-8' },
    body: JSON.stringify(schema.parse(body)),
  };
}

function send(request: FastifyRequest, reply: FastifyReply, stored: StoredReply, list: unknown): FastifyReply {
  reply.headers(stored.headers);
  const nextCursor = typeof list === 'object' && list !== null && 'nextCursor' in list ? list.nextCursor : null;
  if (typeof nextCursor === 'string') {
    const next = new URL(request.url, 'http://localhost');
    next.searchParams.set('cursor', nextCursor);
    reply.header('link', `<${next.pathname}${next.search}>; rel="next"`);
  }
  return reply.code(stored.status).send(stored.body);
}

function sendFile(reply: FastifyReply, file: FileBody): FastifyReply {
  return reply
    .header('content-type', file.contentType)
    .header('content-disposition', `attachment; filename="${file.name}"`)
    .send(Readable.from(file.chunks));
}

type AnyRoute = Pick<
  RouteDefinition<z.ZodType, z.ZodType, z.ZodType>,
  'method' | 'changesExisting' | 'isHistory' | 'isRateLimited' | 'body' | 'fileTypes'
>;

function responsesOf(route: AnyRoute, replies: Readonly<Record<number, z.ZodType | null>>): Record<string, unknown> {
  const problem = (description: string) => ({
    description,
    content: { 'application/problem+json': { schema: problemSchema } },
  });
  const isWrite = route.method !== 'GET';
  return {
    ...Object.fromEntries(
      Object.entries(replies).map(([status, schema]) => [
        status,
        schema === null
          ? z.null().describe('No body')
          : {
              description: 'Success',
              content: Object.fromEntries((route.fileTypes ?? ['application/json']).map((type) => [type, { schema }])),
            },
      ]),
    ),
    400: problem('The request is malformed'),
    401: problem('The credential is missing or not valid'),
    403: problem('The credential does not permit this'),
    404: problem('Not there, or not the caller’s to see'),
    422: problem('Not valid; errors holds JSON pointers'),
    429: problem('More requests than the quotas allow; Retry-After says when to come back'),
    500: problem('Internal error'),
    503: problem('Retry with the same Idempotency-Key'),
    ...(isWrite ? { 409: problem('In the way of what exists, or still in use') } : {}),
    ...(route.isRateLimited === true ? { 429: problem('Too many attempts; Retry-After says when') } : {}),
    ...(route.isHistory === true ? { 410: problem('What is asked for is no longer kept') } : {}),
    ...(route.changesExisting === true
      ? { 412: problem('Changed since it was read'), 428: problem('Send If-Match') }
      : {}),
    ...(route.body === undefined
      ? {}
      : {
          411: problem('Send a Content-Length'),
          413: problem('The body is too large'),
          415: problem('Media type not supported'),
        }),
  };
}
