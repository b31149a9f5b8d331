import { type Context, context, propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';
import { tracer } from './in-span.js';

declare module 'fastify' {
  interface FastifyRequest {
    /** With the span of the request; undefined for requests that have none. */
    traceContext: Context | undefined;
  }
}

/**
 * A span for each request, in the caller's trace when it names one. It has the route, never the URL, which may hold what opens
 * something. Nodes poll every few seconds: those requests have none. Call it before other hooks are added, so that refusals are seen too.
 */
export function traceRequests(app: FastifyInstance): void {
  app.decorateRequest('traceContext', undefined);
  app.addHook('onRequest', (request, reply, done) => {
    const { method, headers, protocol, id } = request;
    const route = request.routeOptions.url;
    if (request.url.startsWith('/internal/')) return done();
    const parent = propagation.extract(ROOT_CONTEXT, headers);
    const attributes = { 'http.request.method': method, 'url.scheme': protocol, 'guidon.request.id': id };
    const span = tracer.startSpan(
      route === undefined ? method : `${method} ${route}`,
      { kind: SpanKind.SERVER, attributes: { ...attributes, ...(route === undefined ? {} : { 'http.route': route }) } },
      parent,
    );
    request.traceContext = trace.setSpan(parent, span);
    reply.raw.once('close', () => {
      const { headersSent, statusCode } = reply.raw;
      if (headersSent) span.setAttribute('http.response.status_code', statusCode);
      if (!headersSent || statusCode >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
      span.end();
    });
    done();
  });
  // Only here: reading a body goes on where the connection was made, outside of any context of ours.
  app.addHook('preHandler', ({ traceContext }, _reply, done) => {
    if (traceContext === undefined) done();
    else context.with(traceContext, done);
  });
}
