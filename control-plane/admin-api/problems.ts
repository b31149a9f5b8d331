import { ERROR_CODES, type ErrorCode, type Issue, PlatformError, type Problem, problemFrom } from '@guidon/protocol';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';

/** RFC 9457 as every error answer has it. */
export const problemSchema = z
  .looseObject({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string().describe('The request id, also in the log'),
    code: z.string(),
    errors: z
      .array(z.object({ pointer: z.string(), code: z.string(), detail: z.string() }))
      .optional()
      .describe('JSON pointers into the body; at most 20'),
    errorCount: z.int().optional(),
  })
  .meta({ id: 'Problem', description: 'RFC 9457 problem details' });

/** Fastify's own refusals that are the caller's doing. Everything else unknown is `internal`. */
const FASTIFY_CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['payload-too-large', 'the body is larger than this route takes'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['unsupported-media-type', 'this route does not take that Content-Type'],
  FST_ERR_CTP_EMPTY_TYPE: ['unsupported-media-type', 'send a Content-Type'],
  FST_ERR_CTP_EMPTY_JSON_BODY: ['malformed-body', 'the body is empty'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: [
    'malformed-request',
    'the body does not have the length that Content-Length says',
  ],
  FST_ERR_BAD_URL: ['malformed-request', 'the URL is not well-formed'],
  FST_ERR_MAX_PARAM_LENGTH: ['not-found', 'there is nothing here'],
};

export function platformErrorFrom(error: unknown): unknown {
  if (error instanceof PlatformError || !(error instanceof Error)) return error;
  const [code, detail] = ('code' in error && FASTIFY_CODES[String(error.code)]) || [];
  return code === undefined || detail === undefined ? error : new PlatformError(code, detail);
}

/**
 * The one place that turns a thrown value into an answer; logs it once, at the level of its code. `worded`: what somebody else's protocol calls it,
 * which may be another status.
 */
export function sendProblem(
  error: unknown,
  request: FastifyRequest,
  reply: FastifyReply,
  worded: (problem: Problem) => Problem = (problem) => problem,
): FastifyReply {
  const known = platformErrorFrom(error);
  const problem = problemFrom(known, request.id);
  const { logLevel, retryable, status } = ERROR_CODES[problem.code];
  request.log[logLevel](
    { code: problem.code, status, ...(logLevel === 'error' ? { err: error } : {}) },
    'request refused',
  );
  if (status === 401) reply.header('www-authenticate', 'Bearer realm="guidon"');
  if (retryable && status === 503) reply.header('retry-after', '1');
  if (status === 429) reply.header('retry-after', String(Number(problem.retryAfterSeconds ?? 1)));
  // A refused upload may still be on its way: do not read it to the end.
  if (status === 413 || status === 400) reply.header('connection', 'close');
  const answer = worded(problem);
  return reply.code(answer.status).type('application/problem+json; charset=utf-8').send(JSON.stringify(answer));
}

/** One 404 for everything that is not there or not the caller's to see: same bytes, whichever it was. */
export function notFound(): PlatformError {
  return new PlatformError('not-found', 'there is nothing here');
}

/** All issues of a zod error with pointers into the input; unknown members point at themselves. */
export function issuesFrom(error: z.core.$ZodError, code: ErrorCode = 'validation-failed'): Issue[] {
  return error.issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((name) => ({ pointer: pointerOf([...issue.path, name]), code, detail: 'unknown member' }));
    }
    return [{ pointer: pointerOf(issue.path), code, detail: issue.message }];
  });
}

export function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('');
}

/** Parses with all issues at once as a 422. */
export function parseWith<Schema extends z.ZodType>(schema: Schema, value: unknown): z.infer<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const issues = issuesFrom(result.error);
  throw new PlatformError('validation-failed', issues[0]?.detail ?? 'the body is not valid', { issues });
}
