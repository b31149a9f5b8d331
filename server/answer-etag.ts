import { createHash } from 'node:crypto';
import type { Caller } from './auth/access-directory.js';

const COMMA = 0x2c;

/**
 * A strong ETag of what was evaluated, without the revision: a change that changes nothing for this context is answered 304. `bytes` begin with
 * `{"revision":…,`. `also`: whatever else of the answer may differ.
 */
export function answerEtag({ slot: { environment }, entry }: Caller, bytes: Uint8Array, also = ''): string {
  const hash = createHash('sha256')
    .update(`${environment.environmentId} ${entry.credentialId} ${also} `)
    .update(bytes.subarray(bytes.indexOf(COMMA)));
  return `"${hash.digest('base64url')}"`;
}
