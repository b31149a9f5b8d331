/**
 * Where an attribute lies inside the context of one kind: its member names from the outside in. A plain name is one of them, never
 * split at dots; a text that starts with `/` is a JSON pointer (RFC 6901).
 */
export type AttributePath = readonly string[];

/** Undefined for the empty path and for a pointer with a bad escape. */
export function parseAttributePath(text: string): AttributePath | undefined {
  if (text === '') return undefined;
  if (!text.startsWith('/')) return [text];
  if (/~(?![01])/.test(text)) return undefined;
  return text
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'));
}

export function isTargetingKeyPath(path: AttributePath): boolean {
  return path.length === 1 && path[0] === 'targetingKey';
}

/** Follows `path` through own members and array elements. Undefined when the way ends early; null is left to the caller. */
export function findAtPath(root: unknown, path: AttributePath): unknown {
  let value = root;
  for (const name of path) {
    if (typeof value !== 'object' || value === null) return undefined;
    if (Array.isArray(value)) {
      value = /^(?:0|[1-9][0-9]*)$/.test(name) ? value[Number(name)] : undefined;
    } else {
      value = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
    }
  }
  return value;
}
