import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import type { LoginChecks } from './oidc-client.js';

export const PENDING_LOGIN_SECONDS = 600;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/** A login that is with the provider. */
export interface PendingLogin extends LoginChecks {
  /** Token of an invitation to accept with it. */
  readonly invitation?: string | undefined;
  /** Who has logged in and wants to log in this way from now on. */
  readonly linkTo?: string | undefined;
}

/**
 * What is remembered of a login lies with the browser that began it, sealed with a key of this process: nothing piles up here, whoever begins
 * logins without end, and no other browser can finish one. A restart makes people begin again.
 */
export class PendingLogins {
  readonly #key = randomBytes(32);
  readonly #monotonicNow: () => number;

  constructor(monotonicNow: () => number) {
    this.#monotonicNow = monotonicNow;
  }

  seal(login: PendingLogin): string {
    const endsAt = this.#monotonicNow() + PENDING_LOGIN_SECONDS * 1_000;
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce);
    const text = Buffer.concat([cipher.update(JSON.stringify({ ...login, endsAt }), 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64url');
  }

  /** Undefined for what this process has not sealed, and for what is too old. */
  open(sealed: string | undefined): PendingLogin | undefined {
    const bytes = Buffer.from(sealed ?? '', 'base64url');
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined;
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, bytes.subarray(0, NONCE_BYTES));
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
      const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
      const { endsAt, ...login } = JSON.parse(text.toString('utf8')) as PendingLogin & { endsAt: number };
      return endsAt > this.#monotonicNow() ? login : undefined;
    } catch {
      return undefined;
    }
  }
}
