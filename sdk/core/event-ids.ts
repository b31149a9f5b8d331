const RANDOM_BYTES = 12;

/** Ids by which a receiver knows an event that it has had already: 96 random bits of this sender, and a count. `[0-9a-f]{24}-[0-9a-z]+`. */
export class EventIds {
  readonly #sender: string;
  #count = 0;

  constructor() {
    const bytes = globalThis.crypto.getRandomValues(new Uint8Array(RANDOM_BYTES));
    this.#sender = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  }

  next(): string {
    this.#count += 1;
    return `${this.#sender}-${this.#count.toString(36)}`;
  }
}
