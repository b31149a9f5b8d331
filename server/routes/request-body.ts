import { assertPlainMsgpack, PlatformError } from '@guidon/protocol';
import { Unpackr } from 'msgpackr';
import type { BodyFormat } from '../media-type.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });
const unpackr = new Unpackr({ useRecords: false, mapsAsObjects: true });

/** The value of a JSON body. Throws `malformed-body`. */
export function parseJsonBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(utf8.decode(body));
  } catch (cause) {
    throw new PlatformError('malformed-body', 'The body is not JSON in UTF-8.', { cause });
  }
}

/** The value of a body for the routes that are not the hot path. Throws `malformed-body`. */
export function decodeBody(body: Uint8Array, format: BodyFormat): unknown {
  if (format === 'json') return parseJsonBody(body);
  assertPlainMsgpack(body);
  // The scan keeps what a general decoder would misread away from it (M16); the copy is because uWS empties the buffer.
  return unpackr.unpack(Buffer.from(body));
}

/** Converts with `convert`, whose recursion a deeply nested body can exhaust: that is the body's fault. */
export function withinStack<Value>(convert: () => Value): Value {
  try {
    return convert();
  } catch (error) {
    if (error instanceof RangeError) throw new PlatformError('malformed-body', 'The body is nested too deep.');
    throw error;
  }
}
