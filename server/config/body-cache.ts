/** Bytes that are kept ready to be sent, of all environments together; the largest one alone may exceed it. */
const BODIES_BYTES_MAX = 128 * 1024 * 1024;
/** What an entry takes besides its bytes. */
const ENTRY_BYTES = 512;

interface Entry<Body> {
  readonly value: Promise<Body>;
  body: Body | undefined;
  bytes: number;
}

/**
 * Bodies made once and sent often: config answers and stream frames. A body is named by environment, position, signature and form, so it never changes; what
 * was used longest ago leaves first (I25). Asked for while it is being made, it is made once.
 */
export class BodyCache<Body extends { readonly bytes: Uint8Array }> {
  readonly #entries = new Map<string, Entry<Body>>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax = BODIES_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /** Ready now? Then it counts as used. */
  find(name: string): Body | undefined {
    const entry = this.#entries.get(name);
    if (entry?.body === undefined) return undefined;
    this.#entries.delete(name);
    this.#entries.set(name, entry);
    return entry.body;
  }

  /** Makes it unless it is there. A failure is not kept. */
  make(name: string, make: () => Promise<Body>): Promise<Body> {
    const known = this.#entries.get(name);
    if (known !== undefined) return known.value;
    const entry: Entry<Body> = { value: make(), body: undefined, bytes: ENTRY_BYTES };
    this.#entries.set(name, entry);
    this.#bytes += ENTRY_BYTES;
    entry.value.then(
      (body) => this.#made(name, entry, body),
      () => this.#drop(name, entry),
    );
    return entry.value;
  }

  #made(name: string, entry: Entry<Body>, body: Body): void {
    if (this.#entries.get(name) !== entry) return;
    entry.body = body;
    entry.bytes += body.bytes.length;
    this.#bytes += body.bytes.length;
    for (const [oldest, other] of this.#entries) {
      if (this.#bytes <= this.#bytesMax) break;
      if (other !== entry && other.body !== undefined) this.#drop(oldest, other);
    }
  }

  #drop(name: string, entry: Entry<Body>): void {
    if (this.#entries.get(name) !== entry) return;
    this.#entries.delete(name);
    this.#bytes -= entry.bytes;
  }
}
