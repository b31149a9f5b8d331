import type { StoreKey } from './keys.js';
import { decodeBytes, decodeRecord } from './record-codec.js';

/** A row as a write leaves it, or as it was read. Whoever reads it shares one parsed form: it is frozen, for it is what the store says to all. */
export class Row {
  readonly key: StoreKey;
  /** `nameOf` the key. */
  readonly name: string;
  /** With their checksum; undefined = removed. */
  readonly stored: Buffer | undefined;
  /** Name of the first parts of its key: what lists look through. Set when the row is staged. */
  group = '';
  #value: unknown;

  constructor(key: StoreKey, name: string, stored: Buffer | undefined) {
    this.key = key;
    this.name = name;
    this.stored = stored;
  }

  /** Parsed when it is first asked for. */
  value<Value>(): Value | undefined {
    if (this.stored === undefined) return undefined;
    this.#value ??= frozen(decodeRecord(this.stored));
    return this.#value as Value;
  }

  /** Without the checksum. Borrowed: never to be written to. */
  bytes(): Buffer | undefined {
    return this.stored === undefined ? undefined : decodeBytes(this.stored);
  }
}

/** Rows come out of JSON, so they are trees of plain objects and arrays. */
function frozen<Value>(value: Value): Value {
  if (typeof value !== 'object' || value === null) return value;
  for (const member of Object.values(value)) frozen(member);
  return Object.freeze(value);
}
