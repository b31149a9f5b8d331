import { hash } from 'node:crypto';
import { PlatformError } from '@guidon/protocol';
import type { FastifyRequest } from 'fastify';
import { MERGE_PATCH, mediaTypeOf } from './patch.js';

const utf8 = new TextDecoder('utf-8', { fatal: true });
/** A surrogate written as an escape: the only way a lone one gets into decoded JSON. */
const SURROGATE_ESCAPE = /\\u[dD][89a-fA-F]/;

/** Parses a JSON body and remembers the digest of its bytes. Undefined for an empty one. */
export function parseJsonBody(request: FastifyRequest, body: Buffer): unknown {
  if (body.length === 0) return undefined;
  request.bodyDigest = hash('sha256', body, 'hex');
  assertShallow(body);
  const value = parseText(body);
  // The schema of a patch is open, and would leave out this one member unseen as if it had been taken.
  const isPatch = mediaTypeOf(request.headers['content-type']) === MERGE_PATCH;
  if (isPatch && typeof value === 'object' && value !== null && Object.hasOwn(value, '__proto__')) {
    const issue = { pointer: '/__proto__', code: 'validation-failed', detail: 'is no member of this' } as const;
    throw new PlatformError('validation-failed', issue.detail, { issues: [issue] });
  }
  return value;
}

function parseText(body: Buffer): unknown {
  try {
    const text = utf8.decode(body);
    const value: unknown = JSON.parse(text);
    return SURROGATE_ESCAPE.test(text) ? toWellFormed(value) : value;
  } catch (cause) {
    throw new PlatformError('malformed-body', 'the body is not JSON in UTF-8', { cause });
  }
}

/** Deeper than anything a definition may be; recursion over what passes is safe. */
const BODY_DEPTH_MAX = 100;

function assertShallow(body: Buffer): void {
  let depth = 0;
  let isInString = false;
  for (let index = 0; index < body.length; index += 1) {
    const byte = body[index];
    if (isInString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) isInString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth += 1;
    else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
    if (depth > BODY_DEPTH_MAX) throw new PlatformError('malformed-body', `the body is deeper than ${BODY_DEPTH_MAX}`);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;

/** Lone surrogates become U+FFFD, in names too. */
function toWellFormed(value: unknown): unknown {
  if (typeof value === 'string') return Buffer.from(value, 'utf8').toString('utf8');
  if (Array.isArray(value)) return value.map(toWellFormed);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => [Buffer.from(name, 'utf8').toString('utf8'), toWellFormed(member)]),
  );
}
