/**
 * Writes the kernel's answer as JSON text straight from its bytes: members keep their order and names such as `__proto__`, integers
 * and doubles their value. Reads only what the kernel and `encodeMsgpack` write.
 */
export function answerToJson(bytes: Uint8Array): string {
  return new JsonWriter(bytes).value();
}

class JsonWriter {
  readonly #bytes: Buffer;
  readonly #view: DataView;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  value(): string {
    const first = this.#u8();
    if (first < 0x80) return String(first);
    if (first >= 0xe0) return String(first - 0x100);
    if (first < 0x90) return this.#object(first & 0x0f);
    if (first < 0xa0) return this.#array(first & 0x0f);
    if (first < 0xc0) return this.#text(first & 0x1f);
    switch (first) {
      case 0xc0:
        return 'null';
      case 0xc2:
        return 'false';
      case 0xc3:
        return 'true';
      case 0xcb:
        return JSON.stringify(this.#view.getFloat64(this.#advance(8)));
      case 0xcc:
        return String(this.#u8());
      case 0xcd:
        return String(this.#u16());
      case 0xce:
        return String(this.#u32());
      case 0xcf:
        return String(this.#view.getBigUint64(this.#advance(8)));
      case 0xd0:
        return String(this.#view.getInt8(this.#advance(1)));
      case 0xd1:
        return String(this.#view.getInt16(this.#advance(2)));
      case 0xd2:
        return String(this.#view.getInt32(this.#advance(4)));
      case 0xd3:
        return String(this.#view.getBigInt64(this.#advance(8)));
      case 0xd9:
        return this.#text(this.#u8());
      case 0xda:
        return this.#text(this.#u16());
      case 0xdb:
        return this.#text(this.#u32());
      case 0xdc:
        return this.#array(this.#u16());
      case 0xdd:
        return this.#array(this.#u32());
      case 0xde:
        return this.#object(this.#u16());
      case 0xdf:
        return this.#object(this.#u32());
      default:
        throw new TypeError(`0x${first.toString(16)} is not part of an answer`);
    }
  }

  #advance(byteCount: number): number {
    const offset = this.#offset;
    this.#offset += byteCount;
    return offset;
  }

  #u8(): number {
    return this.#view.getUint8(this.#advance(1));
  }

  #u16(): number {
    return this.#view.getUint16(this.#advance(2));
  }

  #u32(): number {
    return this.#view.getUint32(this.#advance(4));
  }

  #text(byteCount: number): string {
    const offset = this.#advance(byteCount);
    return JSON.stringify(this.#bytes.toString('utf8', offset, offset + byteCount));
  }

  #array(count: number): string {
    const elements: string[] = [];
    for (let index = 0; index < count; index += 1) elements.push(this.value());
    return `[${elements.join(',')}]`;
  }

  #object(count: number): string {
    const members: string[] = [];
    for (let index = 0; index < count; index += 1) members.push(`${this.value()}:${this.value()}`);
    return `{${members.join(',')}}`;
  }
}
