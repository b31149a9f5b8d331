import { createHmac, timingSafeEqual } from 'node:crypto';
import type { EnvironmentRef } from '../environment-ref.js';

/**
 * `refetch`: hears only that something changed, so it may stand for a server key too. `events`: sends events where no header can be set, as when a
 * page is being left.
 */
export type StreamUse = 'websocket' | 'sse' | 'refetch' | 'events';

/**
 * What a browser shows instead of its key where only a URL or a subprotocol can carry it: good for one use in one environment for one hour, from any
 * node that has the environment's access list, and as long as the key itself is good.
 *
 *   <use: w | s | r | e>.<credentialId: 22>.<expiresAt: base 36 of epoch seconds>.<mac: 43, base64url>
 *   mac = HMAC-SHA256(key, "<use>.<credentialId>.<expiresAt>.<tenantId>/<projectId>/<environmentId>")
 *   key = HMAC-SHA256(SHA-256 of the key's secret, "guidon stream token v1")
 */
export interface StreamToken {
  readonly use: StreamUse;
  readonly credentialId: string;
  /** Epoch milliseconds, a whole second. */
  readonly expiresAt: number;
  readonly mac: string;
}

const PATTERN = /^([wsre])\.([A-Za-z0-9]{22})\.([1-9a-z][0-9a-z]{0,8})\.([A-Za-z0-9_-]{43})$/;
const LABEL = 'guidon stream token v1';
const USE_LETTERS = { websocket: 'w', sse: 's', refetch: 'r', events: 'e' } as const;
const USES: Readonly<Record<string, StreamUse>> = { w: 'websocket', s: 'sse', r: 'refetch', e: 'events' };

/** `secretHash`: hex, as the access list has it. */
export function mintStreamToken(
  environment: EnvironmentRef,
  { credentialId, secretHash }: { readonly credentialId: string; readonly secretHash: string },
  use: StreamUse,
  expiresAt: number,
): string {
  const head = headOf(use, credentialId, Math.floor(expiresAt / 1000));
  return `${head}.${macOf(environment, secretHash, head).toString('base64url')}`;
}

/** Undefined when it is not of the form. Whether it is genuine says isGenuineToken. */
export function findStreamToken(text: string): StreamToken | undefined {
  const [, use, credentialId, seconds, mac] = PATTERN.exec(text) ?? [];
  const named = use === undefined ? undefined : USES[use];
  if (named === undefined || credentialId === undefined || seconds === undefined || mac === undefined) return undefined;
  return {
    use: named,
    credentialId,
    expiresAt: Number.parseInt(seconds, 36) * 1000,
    mac,
  };
}

/** Constant time in the mac. Expiry and the state of the key are the caller's to look at. */
export function isGenuineToken(environment: EnvironmentRef, token: StreamToken, secretHash: string): boolean {
  const head = headOf(token.use, token.credentialId, token.expiresAt / 1000);
  // As texts: base64url has several spellings of the same bytes.
  const expected = Buffer.from(macOf(environment, secretHash, head).toString('base64url'));
  const actual = Buffer.from(token.mac);
  return actual.length === expected.length && timingSafeEqual(actual, expected);
}

function headOf(use: StreamUse, credentialId: string, seconds: number): string {
  return `${USE_LETTERS[use]}.${credentialId}.${seconds.toString(36)}`;
}

function macOf({ tenantId, projectId, environmentId }: EnvironmentRef, secretHash: string, head: string): Buffer {
  const key = createHmac('sha256', Buffer.from(secretHash, 'hex')).update(LABEL).digest();
  return createHmac('sha256', key).update(`${head}.${tenantId}/${projectId}/${environmentId}`).digest();
}
