import { randomBytes } from 'node:crypto';

/** Ids of events that this process makes: 96 random bits of the process and a count. */
export class EventIds {
  readonly #sender = randomBytes(12).toString('base64url');
  #count = 0;

  next(): string {
    this.#count += 1;
    return `${this.#sender}-${this.#count.toString(36)}`;
  }
}
