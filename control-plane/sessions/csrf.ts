import { timingSafeEqual } from 'node:crypto';
import { PlatformError } from '@guidon/protocol';
import type { Cookies } from './cookies.js';
import { csrfTokenOf } from './session-record.js';

/**
 * Browsers say where a request comes from; what they say must be here. Without a word of it a request is from no browser of today: it may log in,
 * which needs a password, but nobody's cookie counts for it.
 */
export function assertNotFromElsewhere({ headers, ownOrigins }: Cookies): void {
  const { 'sec-fetch-site': site, origin } = headers;
  if (site !== undefined && site !== 'same-origin') throw refusal('it was made by a page of another site');
  if (origin !== undefined && !ownOrigins.includes(origin.toLowerCase())) throw refusal('its Origin is another one');
}

/** For every request that a cookie speaks for and that may change something. `secret`: of its session. */
export function assertMadeHere(cookies: Cookies, secret: string): void {
  const { headers } = cookies;
  if (headers['sec-fetch-site'] === undefined && headers.origin === undefined) {
    throw refusal('it has neither Origin nor Sec-Fetch-Site');
  }
  assertNotFromElsewhere(cookies);
  const expected = Buffer.from(csrfTokenOf(secret));
  const sent = Buffer.from(String(headers['x-csrf-token'] ?? ''));
  if (sent.length !== expected.length || !timingSafeEqual(sent, expected)) {
    throw refusal('send the csrfToken of your session as X-CSRF-Token');
  }
}

function refusal(why: string): PlatformError {
  return new PlatformError('csrf', `the request is refused: ${why}`);
}
