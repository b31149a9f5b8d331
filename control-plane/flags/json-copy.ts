import type { Json } from '@guidon/protocol';

/** A view as the caller gets it: JSON, without members that are undefined. */
export function jsonCopy(view: unknown): Json {
  return JSON.parse(JSON.stringify(view)) as Json;
}
