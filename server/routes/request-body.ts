import { type BodyFormat, decodeStrictMsgpack } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: false });

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
  // As strict as the kernel, so that what can be evaluated can be explained (M16).
  const decoded = decodeStrictMsgpack(body);
  if (decoded.ok) return decoded.value;
  throw new PlatformError(
    'malformed-body',
    `The body is not msgpack as it is read here: ${decoded.detail}, at byte ${decoded.offset}.`,
  );
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
