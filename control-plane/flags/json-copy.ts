import type { Json } from '@guidon/protocol';

/** A view as the caller gets it: JSON, without members that are undefined. */
export function jsonCopy(view: unknown): Json {
  return JSON.parse(JSON.stringify(view)) as Json;
}

/** A view made of nothing but what the store holds, which came out of JSON: no member is undefined. */
export function storedJson(view: object): Json {
  return view as Json;
}
