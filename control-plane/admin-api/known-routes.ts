/** What is served, so that a wrong method on a right path is told from a wrong path. */
export interface KnownRoute {
  readonly methods: readonly string[];
  readonly url: string;
}

/** Methods that the path of `url` answers to; empty when there is no such path. */
export function allowedMethods(routes: readonly KnownRoute[], url: string): string[] {
  const path = (url.split('?')[0] ?? '').split('/');
  const methods = routes.filter((route) => isMatch(route.url.split('/'), path)).flatMap((route) => route.methods);
  return [...new Set(methods)].sort();
}

function isMatch(pattern: readonly string[], path: readonly string[]): boolean {
  return (
    pattern.length === path.length &&
    pattern.every((part, index) => (part.startsWith(':') ? path[index] !== '' : part === path[index]))
  );
}
