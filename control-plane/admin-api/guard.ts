import { strict as assert } from 'node:assert';
import { isId, PlatformError, parseTenantId } from '@guidon/protocol';
import type { FastifyRequest } from 'fastify';
import type { Denial } from '../audit/denials.js';
import type { RequestRates } from '../limits/request-rates.js';
import { Cookies } from '../sessions/cookies.js';
import { assertMadeHere } from '../sessions/csrf.js';
import type { Actor } from './actor.js';
import type { Authenticated, Authenticator } from './authenticate.js';
import { type Action, assertAuthorised, authorise, POLICY } from './policy.js';
import { notFound } from './problems.js';
import { originOf } from './request-origin.js';
import type { ResourceReader } from './resource-reader.js';

const HEADER_COUNT_MAX = 64;
const URL_CHARS_MAX = 2_048;
/** Twice one of these and two readers of the same request may see two requests (M13). */
const SINGLE_HEADERS = new Set([
  'host',
  'authorization',
  'x-api-key',
  'x-csrf-token',
  'content-length',
  'content-type',
  'if-match',
]);
const TOKEN_IN_URL = /gdn_(srv|web|node|adm)_/;
/** What people type; ids match `isId`. Anything else in a path names nothing. */
const KEY_PATTERN = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

declare module 'fastify' {
  interface FastifyContextConfig {
    /** What the route does, as the policy names it. */
    action?: Action;
    /** Why the route needs no credential. Exactly one of the two is there. */
    publicBecause?: string;
    takesBody?: boolean;
  }
  interface FastifyRequest {
    /** Set by the guard on every route that is not public. */
    authenticated?: Authenticated;
  }
}

/** I18: a route without a policy entry fails the boot. Called for every route, whoever registers it. */
export function assertHasPolicy(route: { method: unknown; url: string; config?: object | undefined }): void {
  const config: { action?: unknown; publicBecause?: unknown } = route.config ?? {};
  const name = `${String(route.method)} ${route.url}`;
  if (config.publicBecause !== undefined && config.action === undefined) return;
  if (typeof config.action !== 'string' || config.publicBecause !== undefined) {
    throw new Error(`${name} declares no action: nobody may call it (I18)`);
  }
  if (!Object.hasOwn(POLICY, config.action)) {
    throw new Error(`${name}: the policy has no entry for ${config.action} (I18)`);
  }
}

export type OnDenied = (denial: Denial) => void;

export interface GuardOptions {
  readonly authenticator: Authenticator;
  readonly resources: ResourceReader;
  readonly onDenied: OnDenied;
  readonly rates: RequestRates;
}

/** First thing on every request: form, then identity, then permission; nothing of the body has been read yet. */
export function guardRequest(request: FastifyRequest, options: GuardOptions): void {
  assertWellFormed(request);
  const { action, takesBody } = request.routeOptions.config;
  if (action !== undefined) {
    const authenticated = identify(request, options);
    request.authenticated = authenticated;
    if ('tenantId' in authenticated.actor) options.rates.admit(authenticated.actor.tenantId);
    if (!hasNameableParams(request)) throw notFound();
    assertAllowed(request, authenticated, action, options);
  } else if (!request.is404 && !hasNameableParams(request)) {
    throw notFound();
  }
  if (takesBody === true && request.headers['content-length'] === undefined) {
    throw new PlatformError('length-required', 'send a Content-Length');
  }
}

/** Of a request that has been let through and lasts: throws when it would not be let through now. */
export function guardAgain(request: FastifyRequest, options: GuardOptions): Actor {
  const { resources } = options;
  const { action } = request.routeOptions.config;
  assert(action !== undefined, 'a public route has no actor');
  const { actor } = identify(request, options);
  assertAuthorised(authorise(actor, action, resources.resourceOf(request.params)));
  if (!resources.hasTenantOf(request.params)) throw notFound();
  return actor;
}

/** A token speaks for itself; a cookie is sent by browsers whoever made the request, so what it may change must come from a page of ours. */
function identify(request: FastifyRequest, { authenticator, resources }: GuardOptions): Authenticated {
  const tenantId = resources.tenantOf(request.params);
  const cookies = new Cookies(request);
  const authenticated = authenticator.authenticate(request.headers, {
    cookie: cookies.find('guidon'),
    tenantId: isId(tenantId) ? parseTenantId(tenantId) : undefined,
  });
  const isUnsafe = request.method !== 'GET' && request.method !== 'HEAD';
  if (authenticated.isSession && isUnsafe) assertMadeHere(cookies, authenticated.secret);
  return authenticated;
}

function assertAllowed(
  request: FastifyRequest,
  authenticated: Authenticated,
  action: Action,
  { resources, onDenied }: GuardOptions,
): void {
  const decision = authorise(authenticated.actor, action, resources.resourceOf(request.params));
  const { actor } = authenticated;
  if (decision.verdict !== 'allow') onDenied({ actor, action, requestId: request.id, from: originOf(request) });
  assertAuthorised(decision);
  if (!resources.hasTenantOf(request.params)) throw notFound();
}

function assertWellFormed(request: FastifyRequest): void {
  const { rawHeaders, url = '' } = request.raw;
  if (url.length > URL_CHARS_MAX)
    throw new PlatformError('uri-too-long', `a URL has at most ${URL_CHARS_MAX} characters`);
  if (rawHeaders.length / 2 > HEADER_COUNT_MAX) {
    throw new PlatformError('headers-too-large', `a request has at most ${HEADER_COUNT_MAX} headers`);
  }
  const seen = new Set<string>();
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index]?.toLowerCase() ?? '';
    if (SINGLE_HEADERS.has(name) && seen.has(name)) {
      throw new PlatformError('malformed-request', `the header ${name} is there twice`);
    }
    seen.add(name);
  }
  if (TOKEN_IN_URL.test(url)) throw new PlatformError('credential-in-url', 'send the credential in a header');
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw new PlatformError('unsupported-media-type', 'compressed bodies are not accepted');
  }
}

/** A path part that cannot be an id or a key names nothing: it never reaches a store key. */
function hasNameableParams(request: FastifyRequest): boolean {
  return Object.entries(request.params as Record<string, string>).every(([name, value]) =>
    name.endsWith('Id') ? isId(value) : KEY_PATTERN.test(value),
  );
}
