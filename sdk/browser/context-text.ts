import type { Json } from '@guidon/sdk-core';

/** JSON with the members of every object in one order: equal contexts have equal texts. Members that are undefined are left out. */
export function canonicalText(value: unknown): string {
  return JSON.stringify(value, (_name, member: Json) =>
    typeof member === 'object' && member !== null && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : 1)))
      : member,
  );
}

/** 64 bits as 16 hex digits, to name what belongs to a key and a context without showing either. It is no proof against who looks for a collision. */
export function nameOf(text: string): string {
  let low = 0x811c9dc5;
  let high = 0x9e3779b9;
  for (let index = 0; index < text.length; index += 1) {
    const unit = text.charCodeAt(index);
    low = Math.imul(low ^ unit, 0x01000193);
    high = Math.imul(high ^ unit, 0x85ebca6b);
    high ^= (high >>> 13) ^ low;
  }
  return [low, high].map((half) => (half >>> 0).toString(16).padStart(8, '0')).join('');
}
