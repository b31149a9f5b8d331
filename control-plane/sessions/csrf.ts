import { timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { PlatformError } from '@guidon/protocol';
import { csrfTokenOf } from './session-record.js';

/**
 * Browsers say where a request comes from; what they say must be here. Without a word of it a request is from no browser of today: it may log in,
 * which needs a password, but nobody's cookie counts for it.
 */
export function assertNotFromElsewhere(headers: IncomingHttpHeaders, isSecure: boolean): void {
  const { 'sec-fetch-site': site, origin } = headers;
  if (site !== undefined && site !== 'same-origin') throw refusal('it was made by a page of another site');
  if (origin !== undefined && !isOwnOrigin(origin, headers.host ?? '', isSecure)) {
    throw refusal('its Origin is another one');
  }
}

/** For every request that a cookie speaks for and that may change something. `secret`: of its session. */
export function assertMadeHere(headers: IncomingHttpHeaders, isSecure: boolean, secret: string): void {
  if (headers['sec-fetch-site'] === undefined && headers.origin === undefined) {
    throw refusal('it has neither Origin nor Sec-Fetch-Site');
  }
  assertNotFromElsewhere(headers, isSecure);
  const expected = Buffer.from(csrfTokenOf(secret));
  const sent = Buffer.from(String(headers['x-csrf-token'] ?? ''));
  if (sent.length !== expected.length || !timingSafeEqual(sent, expected)) {
    throw refusal('send the csrfToken of your session as X-CSRF-Token');
  }
}

function isOwnOrigin(origin: string, host: string, isSecure: boolean): boolean {
  return origin.toLowerCase() === `${isSecure ? 'https' : 'http'}://${host.toLowerCase()}`;
}

function refusal(why: string): PlatformError {
  return new PlatformError('csrf', `the request is refused: ${why}`);
}
