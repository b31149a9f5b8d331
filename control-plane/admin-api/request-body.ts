import { hash } from 'node:crypto';
import { type Issue, PlatformError } from '@guidon/protocol';
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
  let text: string;
  let value: unknown;
  try {
    text = utf8.decode(body);
    value = JSON.parse(text);
  } catch (cause) {
    throw new PlatformError('malformed-body', 'the body is not JSON in UTF-8', { cause });
  }
  if (!SURROGATE_ESCAPE.test(text)) return value;
  const issues = illFormed(value);
  if (issues.length === 0) return value;
  throw new PlatformError('validation-failed', 'the body holds text that is no Unicode', { issues });
}

const ISSUES_MAX = 100;

/** Texts, names of members too, that no UTF-8 can hold: they would be stored as something else than was sent. */
function illFormed(body: unknown): Issue[] {
  const issues: Issue[] = [];
  const path: (string | number)[] = [];
  const check = (text: string): void => {
    if (text.isWellFormed() || issues.length >= ISSUES_MAX) return;
    issues.push({ pointer: pointerOf(path), code: 'validation-failed', detail: 'must be well-formed Unicode' });
  };
  const walk = (value: unknown): void => {
    if (typeof value === 'string') check(value);
    if (typeof value !== 'object' || value === null) return;
    const members = Array.isArray(value) ? value.entries() : Object.entries(value);
    for (const [name, member] of members) {
      path.push(name);
      if (typeof name === 'string') check(name);
      walk(member);
      path.pop();
    }
  };
  walk(body);
  return issues;
}

/** As an answer can say it: what is wrong with a name is U+FFFD in the pointer. */
function pointerOf(path: readonly (string | number)[]): string {
  return path
    .map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`)
    .join('')
    .toWellFormed();
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
