/**
 * Where a thing stands below its tenant, as policies name it: `project:shop/env:production/flag:checkout`. The tenant itself is ''. A list, and
 * the making of a new thing, are done to what holds them: all flags of a project are read at `project:shop`.
 */
export type ResourcePath = string;

/** By the parameter of a route's path. What is not here names nothing a policy could tell apart. */
const SEGMENT_TYPES = {
  projectKey: 'project',
  environmentKey: 'env',
  flagKey: 'flag',
  segmentKey: 'segment',
  roleKey: 'role',
} as const;

export const RESOURCE_TYPES: readonly string[] = Object.values(SEGMENT_TYPES);

/** Parameters in the order of the path. */
export function resourcePathOf(params: Readonly<Record<string, string>>): ResourcePath {
  return Object.entries(SEGMENT_TYPES)
    .filter(([name]) => params[name] !== undefined)
    .map(([name, type]) => `${type}:${params[name]}`)
    .join('/');
}

/**
 * Does a pattern of a policy name `path`? Segments are compared one by one, `*` stands for any run of characters within a key. A pattern
 * that ends in `/*` names everything below, and `*` alone everything of the tenant.
 */
export function matchesPath(pattern: string, path: ResourcePath): boolean {
  if (pattern === '*') return true;
  const isBelow = pattern.endsWith('/*');
  const wanted = (isBelow ? pattern.slice(0, -2) : pattern).split('/');
  const given = path.split('/');
  if (isBelow ? given.length <= wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, index) => matchesGlob(segment, given[index] ?? ''));
}

/** Linear in the text for each star: no pattern can make it slow. */
export function matchesGlob(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return text === first;
  if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
  const end = text.length - last.length;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
