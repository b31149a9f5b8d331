import { strict as assert } from 'node:assert';
import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const CIPHER = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;

/**
 * Keeps secrets that must be read again, unlike those of credentials: the store holds them sealed, the key lies in `<keys>/webhook.key`, made with the
 * first secret. `owner` is bound into what is sealed, so that a row moved to another tenant opens nothing.
 */
export class SecretBox {
  readonly #directory: string;
  #key: Buffer | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Nonce, tag and ciphertext in base64. */
  seal(secret: string, owner: string): string {
    this.#key ??= this.#readKey() ?? this.#makeKey();
    const nonce = randomBytes(NONCE_BYTES);
    const cipher = createCipheriv(CIPHER, this.#key, nonce).setAAD(Buffer.from(owner));
    const sealed = Buffer.concat([cipher.update(secret, 'utf8'), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]).toString('base64');
  }

  /** Undefined when it was sealed with another key, as after a restore without keys, or for another owner. */
  open(sealed: string, owner: string): string | undefined {
    this.#key ??= this.#readKey();
    if (this.#key === undefined) return undefined;
    const bytes = Buffer.from(sealed, 'base64');
    try {
      const decipher = createDecipheriv(CIPHER, this.#key, bytes.subarray(0, NONCE_BYTES)).setAAD(Buffer.from(owner));
      decipher.setAuthTag(bytes.subarray(NONCE_BYTES, NONCE_BYTES + TAG_BYTES));
      const text = Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES + TAG_BYTES)), decipher.final()]);
      return text.toString('utf8');
    } catch {
      return undefined;
    }
  }

  /** Undefined when there is none. One that is no key is not replaced: what it sealed could never be opened again. */
  #readKey(): Buffer | undefined {
    if (!existsSync(this.#path)) return undefined;
    const key = readFileSync(this.#path);
    assert(key.length === KEY_BYTES, `${this.#path} is no key: restore it`);
    return key;
  }

  #makeKey(): Buffer {
    const key = randomBytes(KEY_BYTES);
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    writeFileSync(`${this.#path}.new`, key, { mode: 0o600, flush: true });
    renameSync(`${this.#path}.new`, this.#path);
    return key;
  }

  get #path(): string {
    return join(this.#directory, 'webhook.key');
  }
}
