import type { Json } from '@guidon/protocol';

/**
 * A view as the caller gets it: JSON, without members that are undefined. A view is made of plain objects, arrays and scalars, and nobody writes to it:
 * what is JSON already is not copied.
 */
export function asJson(view: unknown): Json {
  if (typeof view !== 'object' || view === null) return (view ?? null) as Json;
  return Array.isArray(view) ? listAsJson(view) : membersAsJson(view);
}

function listAsJson(view: readonly unknown[]): Json {
  const items = view.map(asJson);
  return items.every((item, index) => item === view[index]) ? storedJson(view) : items;
}

function membersAsJson(view: object): Json {
  const members: [string, Json][] = [];
  let isSame = true;
  for (const [name, member] of Object.entries(view)) {
    const json = asJson(member);
    if (json !== member) isSame = false;
    if (member !== undefined) members.push([name, json]);
  }
  // fromEntries defines members, so one called `__proto__` stays one.
  return isSame ? storedJson(view) : Object.fromEntries(members);
}

/** A view made of nothing but what the store holds, which came out of JSON: no member is undefined. */
export function storedJson(view: object): Json {
  return view as Json;
}
