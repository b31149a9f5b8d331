import { PlatformError } from '@guidon/protocol';
import type { AccessEntry } from '@guidon/protocol/signed-config';
import type { HeaderPair, Reply } from './reply.js';
import type { RequestHead } from './request-head.js';

const EXPOSED = 'ETag, Retry-After, RateLimit, RateLimit-Policy, X-Guidon-Revision, X-Config-Age, X-Request-Id';
const ALLOW_ANY: HeaderPair = ['Access-Control-Allow-Origin', `*\r\nAccess-Control-Expose-Headers: ${EXPOSED}`];
const PREFLIGHT: HeaderPair = [
  'Access-Control-Allow-Origin',
  [
    '*',
    'Access-Control-Allow-Methods: GET, POST, OPTIONS',
    'Access-Control-Allow-Headers: content-type, authorization, x-api-key, if-none-match, last-event-id, traceparent, tracestate',
    'Access-Control-Max-Age: 7200',
  ].join('\r\n'),
];
/** RFC 6454 serialisation, as browsers send it, and `null`. Anything else never reaches a header of ours. */
const ORIGIN = /^([a-z][a-z0-9+.-]{0,31}:\/\/[A-Za-z0-9.:[\]_-]{1,253}|null)$/;

/**
 * A preflight carries no credential, so it cannot know the allowed origins: it says which methods and headers exist, for any origin and
 * without Allow-Credentials (no cookie is ever read here). The request itself is held to the list of its credential.
 */
export function answerPreflight(reply: Reply): void {
  reply.end(204, [PREFLIGHT], '');
}

/** A problem must be readable in a browser too; it says nothing about any environment. */
export function allowProblemToBeRead(head: RequestHead, reply: Reply): void {
  if (head.origin !== '') reply.extraHeaders = [ALLOW_ANY];
}

/** Holds a `web` request to its credential's origins. Server keys get no CORS header: they have no business in a browser. */
export function assertOrigin(entry: AccessEntry, origin: string, reply: Reply): void {
  reply.extraHeaders = undefined;
  if (entry.kind !== 'web') return;
  if (entry.allowedOrigins.includes('*')) {
    reply.extraHeaders = [ALLOW_ANY];
    return;
  }
  if (!ORIGIN.test(origin) || !entry.allowedOrigins.includes(origin)) {
    throw new PlatformError('forbidden', 'This credential may not be used from this origin.');
  }
  reply.extraHeaders = [
    ['Access-Control-Allow-Origin', `${origin}\r\nVary: Origin\r\nAccess-Control-Expose-Headers: ${EXPOSED}`],
  ];
}
