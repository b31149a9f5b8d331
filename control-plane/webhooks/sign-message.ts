import { createHmac, createPrivateKey, generateKeyPairSync, randomBytes, sign } from 'node:crypto';

/** How a receiver checks who sent it: a shared secret (v1), or a key pair whose public half he keeps (v1a). */
export type Signing = 'hmac' | 'ed25519';

/** A secret as its owner is shown it: `whsec_` with 32 random bytes, or `whsk_` with an Ed25519 private key; base64. */
export interface NewSecret {
  readonly secret: string;
  /** `whpk_` with the public key; '' for a shared secret. */
  readonly publicKey: string;
}

const HMAC_PREFIX = 'whsec_';
const PRIVATE_PREFIX = 'whsk_';
const PUBLIC_PREFIX = 'whpk_';
const SECRET_BYTES = 32;
/** Before the 32 bytes of a private key in PKCS #8. */
const PKCS8_HEAD = Buffer.from('302e020100300506032b657004220420', 'hex');

export function newSecret(signing: Signing): NewSecret {
  if (signing === 'hmac') {
    return { secret: `${HMAC_PREFIX}${randomBytes(SECRET_BYTES).toString('base64')}`, publicKey: '' };
  }
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  return { secret: PRIVATE_PREFIX + base64(d), publicKey: PUBLIC_PREFIX + base64(x) };
}

export interface Message {
  /** `msg_…`, the same over all attempts. */
  readonly id: string;
  readonly body: string;
}

/** The headers of Standard Webhooks, one signature per secret; `at` is of the attempt, epoch milliseconds. */
export function signatureHeaders(
  { id, body }: Message,
  secrets: readonly string[],
  at: number,
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(at / 1_000));
  const text = `${id}.${timestamp}.${body}`;
  return {
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'webhook-signature': secrets.map((secret) => signatureOf(text, secret)).join(' '),
  };
}

function signatureOf(text: string, secret: string): string {
  if (secret.startsWith(PRIVATE_PREFIX)) {
    const key = Buffer.concat([PKCS8_HEAD, Buffer.from(secret.slice(PRIVATE_PREFIX.length), 'base64')]);
    const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
    return `v1a,${sign(null, Buffer.from(text), privateKey).toString('base64')}`;
  }
  const key = Buffer.from(secret.slice(HMAC_PREFIX.length), 'base64');
  return `v1,${createHmac('sha256', key).update(text).digest('base64')}`;
}

const base64 = (base64url: string): string => Buffer.from(base64url, 'base64url').toString('base64');
