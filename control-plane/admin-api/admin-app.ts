import { strict as assert } from 'node:assert';
import { randomUUID } from 'node:crypto';
import type { RequestListener } from 'node:http';
import { createServer, Server } from 'node:https';
import { PlatformError } from '@guidon/protocol';
import { readTlsFiles, type TlsFiles } from '@guidon/protocol/tls-files';
import { type FastifyBaseLogger, type FastifyInstance, type FastifyRequest, fastify, LogController } from 'fastify';
import { serializerCompiler } from 'fastify-type-provider-zod';
import type { Logger } from 'pino';
import type { z } from 'zod';
import type { Propagation } from '../nodes/propagation.js';
import { traceRequests } from '../tracing/trace-requests.js';
import { answerClientError } from './client-error.js';
import { assertHasPolicy, type GuardOptions, guardAgain, guardRequest } from './guard.js';
import type { IdempotencyKeys } from './idempotency.js';
import { allowedMethods, type KnownRoute } from './known-routes.js';
import { JSON_PATCH, MERGE_PATCH, mediaTypeOf } from './patch.js';
import { issuesFrom, notFound, sendProblem } from './problems.js';
import { parseJsonBody } from './request-body.js';
import { withoutPorts } from './request-origin.js';

const BODY_BYTES_MAX = 1024 * 1024;
const HEADER_BYTES_MAX = 8 * 1024;
const REQUEST_MS_MAX = 30_000;
/** As Fastify keeps a connection over plain HTTP. */
const KEEP_ALIVE_MS = 72_000;

/** Fastify with everything that holds for every route: guard, body parsing, validation, problem documents, security headers. */
export function createAdminApp(options: {
  logger: Logger;
  guard: GuardOptions;
  idempotencyKeys: IdempotencyKeys;
  propagation: Propagation;
  tls?: TlsFiles | undefined;
  /** Addresses and CIDR ranges whose `X-Forwarded-*` say who asks and how; from anybody else these headers mean nothing. */
  trustedProxies?: readonly string[] | undefined;
  /** What people call, when it is not what this listens on: pages from there are ours. */
  publicUrl?: string | undefined;
}): FastifyInstance {
  const { logger, guard, idempotencyKeys, propagation, tls, trustedProxies = [], publicUrl } = options;
  const routes: KnownRoute[] = [];
  const base: FastifyBaseLogger = logger;
  const app: FastifyInstance = fastify({
    loggerInstance: base,
    // Our own line per request names the route, never the URL: a URL may hold what does not belong in a log.
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_BYTES_MAX,
    genReqId: () => randomUUID(),
    ...(tls === undefined ? {} : { serverFactory: (handler: RequestListener) => createTlsServer(tls, handler) }),
    ...(trustedProxies.length === 0 ? {} : { trustProxy: [...trustedProxies] }),
    http: { maxHeaderSize: HEADER_BYTES_MAX },
    routerOptions: { maxParamLength: 256 },
    requestTimeout: REQUEST_MS_MAX,
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    clientErrorHandler: answerClientError,
    frameworkErrors: (error, request, reply) => {
      void sendProblem(error, request, reply);
    },
  });
  app.decorate('idempotencyKeys', idempotencyKeys);
  app.decorate('publicOrigin', publicUrl === undefined ? undefined : new URL(publicUrl).origin);
  app.decorate('propagation', propagation);
  app.decorate('guardAgain', (request: FastifyRequest) => guardAgain(request, guard));
  app.decorateRequest('authenticated', undefined);
  app.decorateRequest('bodyDigest', '');
  app.setValidatorCompiler<z.ZodType>(
    ({ schema, httpPart }) =>
      (value: unknown) =>
        validate(schema, httpPart, value),
  );
  app.setSerializerCompiler(serializerCompiler);
  useJsonBodies(app);
  app.setErrorHandler((error, request, reply) => sendProblem(error, request, reply));
  app.setNotFoundHandler((request, reply) => {
    const allowed = allowedMethods(routes, request.url);
    if (allowed.length === 0) return sendProblem(notFound(), request, reply);
    reply.header('allow', allowed.join(', '));
    return sendProblem(new PlatformError('method-not-allowed', `use ${allowed.join(', ')}`), request, reply);
  });

  app.addHook('onRoute', (route) => {
    assertHasPolicy(route);
    routes.push({ methods: [route.method].flat(), url: route.url });
  });
  traceRequests(app);
  app.addHook('onRequest', async (request, reply) => {
    // Nodes poll every few seconds and are no browsers: each byte of an idle poll counts.
    reply.headers(request.url.startsWith('/internal/') ? INTERNAL_HEADERS : SECURITY_HEADERS);
    if (trustedProxies.length > 0) dropForwardedPorts(request);
    guardRequest(request, guard);
  });
  app.addHook('onResponse', async (request, reply) => logRequest(request, reply.statusCode, reply.elapsedTime));
  return app;
}

/** Before anybody asks where the request came from. */
function dropForwardedPorts({ headers }: FastifyRequest): void {
  const forwardedFor = headers['x-forwarded-for'];
  if (typeof forwardedFor === 'string') headers['x-forwarded-for'] = withoutPorts(forwardedFor);
}

/** What Fastify sets on a server of its own, on one that can be given another certificate. */
function createTlsServer(files: TlsFiles, handler: RequestListener): Server {
  const limits = { maxHeaderSize: HEADER_BYTES_MAX, requestTimeout: REQUEST_MS_MAX, keepAliveTimeout: KEEP_ALIVE_MS };
  return createServer({ ...limits, ...TLS_OPTIONS, ...readTlsFiles(files) }, handler);
}

/** New connections get what the files hold now, the present ones go on; throws what is wrong with the files, and all stays as it was. */
export function reloadCertificate(app: FastifyInstance, files: TlsFiles): void {
  const { server } = app;
  assert(server instanceof Server, 'only an app with TLS has a certificate');
  server.setSecureContext({ ...TLS_OPTIONS, ...readTlsFiles(files) });
}

const TLS_OPTIONS = { minVersion: 'TLSv1.2' } as const;

const INTERNAL_HEADERS = { 'cache-control': 'no-store' } as const;

const SECURITY_HEADERS = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
} as const;

/** JSON is the only thing a body may be, unless a route adds a parser of its own in its own scope. */
function useJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser(
    ['application/json', MERGE_PATCH, JSON_PATCH],
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => {
      // `application/json-patch+json` starts with `application/json`: compare the whole media type.
      const isPatch = mediaTypeOf(request.headers['content-type']) !== 'application/json';
      if (isPatch !== (request.method === 'PATCH')) {
        const detail = isPatch ? 'send application/json' : `send ${MERGE_PATCH} or ${JSON_PATCH}`;
        throw new PlatformError('unsupported-media-type', detail);
      }
      return parseJsonBody(request, body);
    },
  );
}

/** Fastify hands over what this answers as `error` unchanged, so all issues of a body reach the caller at once. */
function validate(schema: z.ZodType, part: string | undefined, value: unknown): { value: unknown } | { error: Error } {
  const result = schema.safeParse(value);
  if (result.success) return { value: result.data };
  const isUnknownParameter = part === 'querystring' && result.error.issues.some(isUnknownMember);
  const issues = issuesFrom(result.error, isUnknownParameter ? 'unknown-parameter' : 'validation-failed');
  const detail = issues[0] === undefined ? 'not valid' : `${issues[0].pointer || 'the body'}: ${issues[0].detail}`;
  return {
    error: new PlatformError(isUnknownParameter ? 'unknown-parameter' : 'validation-failed', detail, { issues }),
  };
}

const isUnknownMember = (issue: z.core.$ZodIssue): boolean => issue.code === 'unrecognized_keys';

function logRequest(request: FastifyRequest, status: number, elapsedMs: number): void {
  const { method, routeOptions, authenticated } = request;
  request.log.debug(
    { method, route: routeOptions.url, status, elapsedMs, credentialId: authenticated?.actor.credentialId },
    'request',
  );
}
