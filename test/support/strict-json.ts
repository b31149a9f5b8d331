import { MSGPACK } from '@guidon/engine/compile/thread-layout.js';

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/gsu;

/**
 * What docs/evaluation.md says of a JSON body, by JSON.parse: the value with lone surrogates mended, undefined when it is malformed. Zeros
 * have no sign in a request.
 */
export function parseStrictJson(body: Uint8Array): { readonly value: unknown } | undefined {
  let value: unknown;
  let text: string;
  try {
    text = utf8.decode(body);
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isWithinBounds(text) ? { value: mended(value) } : undefined;
}

/** No name twice in one object, no deeper and no larger object than the kernel reads. `text` is JSON. */
function isWithinBounds(text: string): boolean {
  const open: Set<string>[] = [];
  let name: string | undefined;
  for (const [token] of text.matchAll(TOKEN)) {
    if (token === '{' || token === '[') open.push(new Set());
    else if (token === '}' || token === ']') open.pop();
    else if (token === ':') {
      const names = open.at(-1);
      if (name === undefined || names === undefined || names.has(name)) return false;
      names.add(name);
      if (names.size > MSGPACK.membersMax) return false;
    }
    if (open.length > MSGPACK.depthMax) return false;
    name = token.startsWith('"') ? String(JSON.parse(token)).toWellFormed() : undefined;
  }
  return true;
}

function mended(value: unknown): unknown {
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value === 'number') return value + 0;
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(mended);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name.toWellFormed(), mended(member)]));
}
