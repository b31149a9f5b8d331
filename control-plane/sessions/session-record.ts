import { createHmac, randomBytes } from 'node:crypto';
import { isId } from '@guidon/protocol';
import { hashSecret } from '@guidon/protocol/signed-config';
import type { Versioned } from '../commit/change.js';

/** A session nobody used for so long has ended; it is counted from what the row says, which lags by SEEN_STEP_MS at most. */
export const SESSION_IDLE_MS = 30 * 60_000;
/** However much it is used. */
export const SESSION_ABSOLUTE_MS = 12 * 3_600_000;
/** How much older than the last request `seenAt` may be: a write per session and minute, not per request. */
export const SEEN_STEP_MS = 60_000;
/** Of one person; one more ends the oldest. */
export const SESSIONS_PER_PERSON_MAX = 20;

/** Row of a session. The secret is in the cookie alone. */
export interface SessionRecord extends Versioned {
  readonly sessionId: string;
  readonly personId: string;
  /** SHA-256 of the secret, hex. */
  readonly secretHash: string;
  /** Of the person when it was opened; another one means that it has ended. */
  readonly epoch: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
  readonly seenAt: number;
  /** Where it was opened. */
  readonly address: string;
  readonly userAgent: string;
}

/** What the cookie holds: whose session, and 256 random bits that prove it. */
export interface SessionToken {
  readonly personId: string;
  readonly secret: string;
}

const SECRET_PATTERN = /^[A-Za-z0-9_-]{43}$/;

export function newSessionToken(personId: string): SessionToken {
  return { personId, secret: randomBytes(32).toString('base64url') };
}

export function encodeSessionToken({ personId, secret }: SessionToken): string {
  return `${personId}.${secret}`;
}

export function findSessionToken(cookie: string | undefined): SessionToken | undefined {
  const [personId, secret, ...rest] = cookie?.split('.') ?? [];
  if (!isId(personId) || secret === undefined || !SECRET_PATTERN.test(secret) || rest.length > 0) return undefined;
  return { personId, secret };
}

/** The name of a session for lists and logs: it leads to no secret. */
export function sessionIdOf({ secret }: SessionToken): string {
  return `ses_${hashSecret(secret).slice(0, 32)}`;
}

/**
 * What a page sends back in X-CSRF-Token with every write. Made from the secret, which pages cannot read and other sites do not have, so
 * nothing is stored for it, and it ends with its session.
 */
export function csrfTokenOf(secret: string): string {
  return createHmac('sha256', secret).update('guidon csrf').digest('base64url');
}
