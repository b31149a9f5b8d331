import { PlatformError } from '@guidon/protocol';

const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN = new Set([0x7b, 0x5b]);
const CLOSE = new Set([0x7d, 0x5d]);
const BLANKS = new Set([0x20, 0x09, 0x0a, 0x0d]);
const EMPTY_OBJECT = /^[ \t\r\n]*\{[ \t\r\n]*\}[ \t\r\n]*$/;
const EMPTY = Buffer.from('{"context":{}}');

/**
 * The body of an OFREP request as the kernel reads it: the same bytes, and `flags` as the last member for a route that asks for one flag. Only the
 * names of the outermost object are looked at here, for what else the kernel would take there is not OFREP's; whether it is JSON, and a context, says
 * the kernel. Without a `context` it is empty. Throws `validation-failed`.
 */
export function kernelRequest(body: Uint8Array, key: string | undefined): Uint8Array {
  const names = outermostNames(body);
  for (const name of names) if (name !== 'context') throw unknownMember(name);
  const whole = names.length === 0 && EMPTY_OBJECT.test(textOf(body)) ? EMPTY : body;
  if (key === undefined) return whole;
  let end = whole.length - 1;
  while (end >= 0 && BLANKS.has(whole[end] ?? 0)) end -= 1;
  // What does not end like an object is none: the kernel says so.
  if (whole[end] !== 0x7d) return whole;
  return Buffer.concat([whole.subarray(0, end), Buffer.from(`,"flags":[${JSON.stringify(key)}]`), whole.subarray(end)]);
}

/** Of malformed JSON any. */
function outermostNames(body: Uint8Array): string[] {
  const names: string[] = [];
  let depth = 0;
  let isName = false;
  for (let offset = 0; offset < body.length; offset += 1) {
    const byte = body[offset] ?? 0;
    if (byte === QUOTE) {
      const start = offset + 1;
      for (offset = start; offset < body.length && body[offset] !== QUOTE; offset += 1) {
        if (body[offset] === BACKSLASH) offset += 1;
      }
      if (isName) names.push(nameOf(textOf(body.subarray(start, offset))));
      isName = false;
    } else if (OPEN.has(byte)) {
      depth += 1;
      isName = depth === 1;
    } else if (CLOSE.has(byte)) depth -= 1;
    else if (byte === COMMA) isName = depth === 1;
  }
  return names;
}

function unknownMember(name: string): PlatformError {
  const pointer = `/${name.slice(0, 64).replaceAll('~', '~0').replaceAll('/', '~1')}`;
  return new PlatformError('validation-failed', 'The body of an OFREP request has the member `context` alone.', {
    issues: [{ pointer, code: 'validation-failed', detail: 'OFREP has no such member' }],
  });
}

/** Escapes are undone, for a name may be spelled with them; what is none stays as it is, and is refused for it. */
function nameOf(text: string): string {
  if (!text.includes('\\')) return text;
  try {
    return String(JSON.parse(`"${text}"`));
  } catch {
    return text;
  }
}

const textOf = (bytes: Uint8Array): string => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString();
