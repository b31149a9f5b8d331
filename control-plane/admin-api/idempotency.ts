import { createCipheriv, createDecipheriv, createHash, hkdfSync, randomBytes } from 'node:crypto';
import { PlatformError } from '@guidon/protocol';
import type { ControlStore, StoreTransaction } from '../store/control-store.js';
import { keys, type Scope } from '../store/keys.js';

export const IDEMPOTENCY_TTL_MS = 24 * 3_600_000;
const KEY_PATTERN = /^[\x21-\x7e]{1,255}$/;
const SWEEP_BATCH_MAX = 1_000;

/**
 * Row under `keys.idempotency`. The reply may hold a secret that is shown once, so it is sealed with a key made from the caller's secret
 * and its Idempotency-Key, neither of which is stored (I24).
 */
interface IdempotencyRow {
  readonly fingerprint: string;
  readonly expiresAt: number;
  readonly sealedReply: string;
}

/** What a replay sends again, byte for byte. */
export interface StoredReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[]>>;
  readonly body: string;
}

export interface IdempotencyClaim {
  readonly scope: Scope;
  readonly credentialId: string;
  /** The caller's secret: key material only. */
  readonly secret: string;
  readonly idempotencyKey: string;
  /** Of method, path and body: the same key with another request is refused. */
  readonly fingerprint: string;
}

/** Idempotency-Key on POST: running -> done for 24 h. A request that failed leaves nothing, so it may be tried again. */
export class IdempotencyKeys {
  readonly #store: ControlStore;
  readonly #now: () => number;
  /** Claims whose request is running; as large as the number of open requests. */
  readonly #running = new Set<string>();

  constructor(store: ControlStore, now: () => number) {
    this.#store = store;
    this.#now = now;
  }

  /** The stored reply, or undefined: then the claim is running until `release`. */
  claim(claim: IdempotencyClaim): StoredReply | undefined {
    if (!KEY_PATTERN.test(claim.idempotencyKey)) {
      throw new PlatformError('validation-failed', 'Idempotency-Key must be 1 to 255 visible ASCII characters');
    }
    const keyHash = hashOf(claim);
    const row = this.#store.find<IdempotencyRow>(keys.idempotency(claim.scope, claim.credentialId, keyHash));
    if (row !== undefined && row.expiresAt > this.#now()) {
      if (row.fingerprint !== claim.fingerprint) {
        throw new PlatformError('idempotency-mismatch', 'this Idempotency-Key was used with another request');
      }
      return unseal(claim, row.sealedReply);
    }
    const running = runningKey(claim, keyHash);
    if (this.#running.has(running)) {
      throw new PlatformError('idempotency-in-progress', 'a request with this Idempotency-Key is still running');
    }
    this.#running.add(running);
    return undefined;
  }

  release(claim: IdempotencyClaim): void {
    this.#running.delete(runningKey(claim, hashOf(claim)));
  }

  /** Inside the transaction of the change: the reply is remembered if and only if the change happened (I1). */
  remember(transaction: StoreTransaction, claim: IdempotencyClaim, reply: StoredReply): void {
    const expiresAt = this.#now() + IDEMPOTENCY_TTL_MS;
    const keyHash = hashOf(claim);
    transaction.put(keys.idempotency(claim.scope, claim.credentialId, keyHash), {
      fingerprint: claim.fingerprint,
      expiresAt,
      sealedReply: seal(claim, reply),
    } satisfies IdempotencyRow);
    transaction.put(keys.idempotencyExpiry(expiresAt, claim.scope, claim.credentialId, keyHash), {
      scope: claim.scope,
      credentialId: claim.credentialId,
      keyHash,
      expiresAt,
    });
  }

  /** Removes what expired, at most one batch a call. */
  async sweep(): Promise<void> {
    const now = this.#now();
    const rows = this.#store.list<{ scope: Scope; credentialId: string; keyHash: string; expiresAt: number }>(
      keys.idempotencyExpiries(),
      { limit: SWEEP_BATCH_MAX },
    );
    const expired = rows.filter(({ value }) => value.expiresAt <= now);
    if (expired.length === 0) return;
    await this.#store.transaction((transaction) => {
      for (const { key, value } of expired) {
        const rowKey = keys.idempotency(value.scope, value.credentialId, value.keyHash);
        // The same key may have been used again since: then a younger expiry row names it.
        const row = transaction.find<IdempotencyRow>(rowKey);
        if (row !== undefined && row.expiresAt <= now) transaction.remove(rowKey);
        transaction.remove(key);
      }
    });
  }
}

const hashOf = ({ idempotencyKey }: IdempotencyClaim): string =>
  createHash('sha256').update(idempotencyKey).digest('hex');
const runningKey = ({ scope, credentialId }: IdempotencyClaim, keyHash: string): string =>
  `${scope}/${credentialId}/${keyHash}`;

const NONCE_BYTES = 12;
const TAG_BYTES = 16;

function sealingKey({ secret, idempotencyKey }: IdempotencyClaim): Uint8Array {
  return new Uint8Array(hkdfSync('sha256', secret, idempotencyKey, 'guidon idempotent reply', 32));
}

/** AES-256-GCM; base64 of nonce, ciphertext, tag. */
function seal(claim: IdempotencyClaim, reply: StoredReply): string {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv('aes-256-gcm', sealingKey(claim), nonce);
  const text = Buffer.concat([cipher.update(JSON.stringify(reply), 'utf8'), cipher.final()]);
  return Buffer.concat([nonce, text, cipher.getAuthTag()]).toString('base64');
}

function unseal(claim: IdempotencyClaim, sealed: string): StoredReply {
  const bytes = Buffer.from(sealed, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', sealingKey(claim), bytes.subarray(0, NONCE_BYTES));
  decipher.setAuthTag(bytes.subarray(-TAG_BYTES));
  const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()]);
  return JSON.parse(text.toString('utf8')) as StoredReply;
}
