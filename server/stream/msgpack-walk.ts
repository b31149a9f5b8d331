/**
 * Steps through msgpack that the kernel wrote, without decoding it: values of web streams are compared by their bytes. Not for anything from outside:
 * bounds are those of the view.
 */
export class MsgpackWalk {
  offset = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Members of the map that begins here; stands at the first name. */
  enterMap(): number {
    const head = this.#uint(1);
    if (head >= 0x80 && head <= 0x8f) return head & 0x0f;
    return this.#uint(head === 0xde ? 2 : 4);
  }

  enterArray(): number {
    const head = this.#uint(1);
    if (head >= 0x90 && head <= 0x9f) return head & 0x0f;
    return this.#uint(head === 0xdc ? 2 : 4);
  }

  text(): string {
    const head = this.#uint(1);
    const bytes = head >= 0xa0 && head <= 0xbf ? head & 0x1f : this.#uint(1 << (head - 0xd9));
    const from = this.offset;
    this.offset += bytes;
    return Buffer.from(this.#bytes.buffer, this.#bytes.byteOffset + from, bytes).toString('utf8');
  }

  skip(): void {
    const head = this.#uint(1);
    if (head <= 0x7f || head >= 0xe0 || head === 0xc0 || head === 0xc2 || head === 0xc3) return;
    if (head <= 0x8f) this.#skipMany((head & 0x0f) * 2);
    else if (head <= 0x9f) this.#skipMany(head & 0x0f);
    else if (head <= 0xbf) this.offset += head & 0x1f;
    else if (head <= 0xc6) this.offset += this.#uint(1 << (head - 0xc4));
    else if (head <= 0xc9) this.offset += this.#uint(1 << (head - 0xc7)) + 1;
    else if (head <= 0xcb) this.offset += head === 0xca ? 4 : 8;
    else if (head <= 0xcf) this.offset += 1 << (head - 0xcc);
    else if (head <= 0xd3) this.offset += 1 << (head - 0xd0);
    else if (head <= 0xd8) this.offset += 1 + (1 << (head - 0xd4));
    else if (head <= 0xdb) this.offset += this.#uint(1 << (head - 0xd9));
    else if (head <= 0xdd) this.#skipMany(this.#uint(head === 0xdc ? 2 : 4));
    else this.#skipMany(this.#uint(head === 0xde ? 2 : 4) * 2);
  }

  #skipMany(count: number): void {
    for (let index = 0; index < count; index += 1) this.skip();
  }

  #uint(byteCount: number): number {
    const from = this.offset;
    this.offset += byteCount;
    if (byteCount === 1) return this.#view.getUint8(from);
    return byteCount === 2 ? this.#view.getUint16(from) : this.#view.getUint32(from);
  }
}
