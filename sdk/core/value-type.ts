import type { Json, JsonObject } from '@guidon/protocol';

/** What the typed getters ask for. `json`: objects and arrays, and null. */
export type ValueType = 'boolean' | 'string' | 'number' | 'json';

/** The values of flags of type json. */
export type Structure = JsonObject | readonly Json[] | null;

/** Is this value one that the getter may return? Otherwise the caller gets his default with TYPE_MISMATCH. */
export function isOfType(value: Json, type: ValueType): boolean {
  return type === 'json' ? typeof value === 'object' : typeof value === type;
}
