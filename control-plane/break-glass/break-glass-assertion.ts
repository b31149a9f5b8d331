import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isId, PlatformError } from '@guidon/protocol';
import { isSignedBy, signDocument, signingKeyFromPem } from '@guidon/protocol/signed-config';

/** Between making it and showing it, either way: the clocks of the two are those of one machine. */
export const ASSERTION_MS_MAX = 60_000;
export const ASSERTION_CHARS_MAX = 4_096;
export const REASON_CHARS_MAX = 500;
/** Stands before what is signed, so that no signature of anything else fits, nor this one anything else. */
const PURPOSE = 'guidon break-glass 1\n';

export interface BreakGlassAssertion {
  /** It counts once. */
  readonly id: string;
  /** Epoch milliseconds. */
  readonly issuedAt: number;
  readonly reason: string;
}

/** Proves that whoever makes it can read the keys of the control plane, which is more than any token gives. Nothing is written. */
export function signBreakGlass(options: { dataDirectory: string; reason: string; now: number }): string {
  const { dataDirectory, reason, now } = options;
  const path = join(dataDirectory, 'keys', 'signing.pem');
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new PlatformError('not-found', `${path} cannot be read: run this where the control plane keeps its data`, {
      cause,
    });
  }
  const assertion: BreakGlassAssertion = { id: randomBytes(16).toString('hex'), issuedAt: now, reason };
  const document = Buffer.from(PURPOSE + JSON.stringify(assertion), 'utf8');
  const { signature } = signDocument(document, signingKeyFromPem(pem));
  return `${document.toString('base64url')}.${Buffer.from(signature).toString('base64url')}`;
}

/** Undefined for everything but an assertion that the key has signed just now. */
export function findBreakGlass(text: string, publicKey: string, now: number): BreakGlassAssertion | undefined {
  const [encoded = '', encodedSignature = '', ...rest] = text.split('.');
  const document = Buffer.from(encoded, 'base64url');
  const signature = Buffer.from(encodedSignature, 'base64url');
  if (rest.length > 0 || !isSignedBy({ document, signature }, publicKey)) return undefined;
  const content = document.toString('utf8');
  if (!content.startsWith(PURPOSE)) return undefined;
  const { id, issuedAt, reason } = JSON.parse(content.slice(PURPOSE.length)) as BreakGlassAssertion;
  return isId(id) && Math.abs(now - issuedAt) <= ASSERTION_MS_MAX ? { id, issuedAt, reason } : undefined;
}
