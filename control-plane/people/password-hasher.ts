import { PlatformError } from '@guidon/protocol';
import { hash, verify } from '@node-rs/argon2';
import { z } from 'zod';

/** One password takes some 20 MiB and 50 ms of a core, on purpose. */
const COST = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
export const HASHES_WAITING_MAX = 8;
const PASSWORD_CHARS_MIN = 12;
const PASSWORD_CHARS_MAX = 256;

/** Length is what counts; there are no rules about kinds of characters. */
export const newPasswordSchema = z
  .string()
  .min(PASSWORD_CHARS_MIN, `must have at least ${PASSWORD_CHARS_MIN} characters`)
  .max(PASSWORD_CHARS_MAX);
/** What somebody types to log in may be anything, but not long enough to be work. */
export const passwordSchema = z.string().max(PASSWORD_CHARS_MAX);

const base64 = (bytes: number): string => Buffer.alloc(bytes).toString('base64').replaceAll('=', '');
/** Costs what a real one costs, and no password has it: for people who are not there. */
const DUMMY_HASH = `$argon2id$v=19$m=${COST.memoryCost},t=${COST.timeCost},p=${COST.parallelism}$${base64(16)}$${base64(32)}`;

/**
 * argon2id, one at a time, off the serving thread. More than HASHES_WAITING_MAX that wait are refused: who sends passwords without end must
 * not take the machine (reliability 2.1).
 */
export class PasswordHasher {
  #isBusy = false;
  readonly #waiting: (() => void)[] = [];

  hash(password: string): Promise<string> {
    return this.#inTurn(() => hash(password.normalize('NFC'), COST));
  }

  /** Takes as long without a hash, and is then false. */
  verify(passwordHash: string | null | undefined, password: string): Promise<boolean> {
    return this.#inTurn(async () => {
      const isRight = await verify(passwordHash ?? DUMMY_HASH, password.normalize('NFC'));
      return isRight && typeof passwordHash === 'string';
    });
  }

  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#isBusy) {
      if (this.#waiting.length >= HASHES_WAITING_MAX) {
        throw new PlatformError('overloaded', 'too many passwords are being checked; try again');
      }
      await new Promise<void>((go) => this.#waiting.push(go));
    }
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      // Who is next goes on as the busy one: nobody gets in between.
      if (next === undefined) this.#isBusy = false;
      else next();
    }
  }
}
