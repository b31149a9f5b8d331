import type { Json } from '@guidon/protocol';

/**
 * What a program gives as attributes, as JSON: dates in RFC 3339, in UTC; what JSON has no word for is null, or left out of an object. The very same
 * object where there is nothing to change, which is the common case. Throws RangeError for what refers to itself.
 */
export function toJson(value: unknown): Json {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : null;
    case 'object':
      return objectToJson(value);
    default:
      return null;
  }
}

function objectToJson(value: object | null): Json {
  if (value === null) return null;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? null : value.toISOString();
  if (Array.isArray(value)) {
    const elements: readonly unknown[] = value;
    const converted = elements.map(toJson);
    return converted.every((element, index) => element === elements[index]) ? (value as Json[]) : converted;
  }
  const entries = Object.entries(value);
  const converted = entries.flatMap(([name, member]): [string, Json][] =>
    isWordless(member) ? [] : [[name, toJson(member)]],
  );
  const isSame =
    converted.length === entries.length && converted.every(([, member], index) => member === entries[index]?.[1]);
  return isSame ? (value as { readonly [name: string]: Json }) : Object.fromEntries(converted);
}

const isWordless = (value: unknown): boolean =>
  value === undefined || typeof value === 'function' || typeof value === 'symbol';
