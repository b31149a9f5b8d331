import type { Json } from '@guidon/protocol';
import { ByteWriter } from '../compile/byte-writer.js';
import { writeMsgpack } from '../compile/encode-msgpack.js';
import { toScalarText } from '../flag-model/text.js';

/**
 * Encodes what JSON.parse gave as the msgpack that the kernel reads. Lone surrogates become U+FFFD, in names too; where two names
 * become one, the later wins, as with duplicate names in JSON.
 */
export function encodeJsonRequest(value: unknown): Uint8Array {
  const writer = new ByteWriter();
  writeMsgpack(writer, withScalarNames(value as Json));
  return writer.finish();
}

/** Strings are mended when they are written; only names can collide by it. Returns the same object when nothing changes. */
function withScalarNames(value: Json): Json {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) {
    const elements: readonly Json[] = value;
    const mended = elements.map(withScalarNames);
    return mended.some((element, index) => element !== elements[index]) ? mended : value;
  }
  const entries = Object.entries(value).map(([name, member]) => [toScalarText(name), withScalarNames(member)] as const);
  const isSame = entries.every(
    ([name, member]) => Object.hasOwn(value, name) && (value as Record<string, Json>)[name] === member,
  );
  return isSame ? value : Object.fromEntries(entries);
}
