const RANDOM_BYTES = 12;

/**
 * Ids by which a receiver knows an event that it has had already: 96 random bits of this sender in base64url, and a count. 18 to 26 characters, as
 * events want them.
 */
export class EventIds {
  readonly #sender: string;
  #count = 0;

  constructor() {
    const bytes = globalThis.crypto.getRandomValues(new Uint8Array(RANDOM_BYTES));
    this.#sender = btoa(String.fromCharCode(...bytes))
      .replaceAll('+', '-')
      .replaceAll('/', '_');
  }

  next(): string {
    this.#count += 1;
    return `${this.#sender}-${this.#count.toString(36)}`;
  }
}
