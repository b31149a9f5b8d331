import type { CompilePool } from '@guidon/pool';
import { type Issue, PlatformError } from '@guidon/protocol';
import { pointerOf } from '../admin-api/problems.js';
import type { ControlStore } from '../store/control-store.js';
import { readDefinitions } from './environment-workspace.js';
import type { PreparedEnvironment } from './prepare-environment.js';

/**
 * Everything a node would refuse in what is about to be written: the pool parses, checks, compiles, verifies and evaluates it with the
 * very code that nodes run (I9, I11), off the thread that answers requests. Empty when a node would take it.
 */
export async function findCompileIssues(
  pool: CompilePool,
  store: ControlStore,
  { change, base, next, definitions, isRaised }: PreparedEnvironment,
): Promise<readonly Issue[]> {
  if (!isRaised) return [];
  const { environment } = change;
  const put = definitions.filter(({ bytes }) => bytes !== undefined);
  const changed = put.map(({ bytes = new Uint8Array() }) => bytes);
  const removed = definitions.flatMap(({ kind, key, hash }) => (hash === undefined ? [[kind, key] as const] : []));
  const request = { environment, revision: next.revision, expectedDigest: next.digest };
  let answer = await pool.tryChange(
    base.revision === 0 ? { ...request, changed, removed: [] } : { ...request, base: base.digest, changed, removed },
  );
  let names = put;
  if (answer.status === 'needs-all') {
    const replaced = new Set(definitions.map(({ kind, key }) => `${kind}\0${key}`));
    const kept = store
      .readStaged(() => [...readDefinitions(store, environment)])
      .filter(({ entry }) => !replaced.has(`${entry.kind}\0${entry.key}`));
    names = [
      ...put,
      ...kept.map(({ entry, definition }) => ({ ...entry, bytes: definition, previousHash: entry.hash })),
    ];
    const all = [...changed, ...kept.map(({ definition }) => definition)];
    answer = await pool.tryChange({ ...request, changed: all, removed: [] });
  }
  if (answer.status === 'passed') return [];
  if (answer.status === 'refused') return answer.issues.map((issue) => renamed(issue, names));
  throw new PlatformError('storage-unavailable', 'what would be stored does not have the digest that would be signed');
}

/** The pool counts the definitions it was sent; a caller knows them by kind and key. */
function renamed(issue: Issue, names: readonly { readonly kind: string; readonly key: string }[]): Issue {
  const [, index, rest = ''] = /^\/changed\/(\d+)(\/.*)?$/.exec(issue.pointer) ?? [];
  const name = index === undefined ? undefined : names[Number(index)];
  return name === undefined ? issue : { ...issue, pointer: `${pointerOf([name.kind, name.key])}${rest}` };
}
