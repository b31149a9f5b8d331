import { decodeDefinition, definitionKey } from '@guidon/engine';
import type { Issue } from '@guidon/protocol';
import { DigestTree, hashDefinition } from '@guidon/protocol/signed-config';
import type { DefinitionEntry } from './compile-task.js';
import { FlagSetDraft, type WorkerState } from './worker-state.js';

export type Applied =
  | { readonly state: WorkerState; readonly entries: DefinitionEntry[] }
  | { readonly issues: readonly Issue[] };

/** Parses and applies a change to a copy of `from`; all issues of all definitions at once. */
export function applyChange(
  from: WorkerState | undefined,
  changed: readonly Uint8Array[],
  removed: readonly (readonly [string, string])[],
): Applied {
  const draft = new FlagSetDraft(from?.flagSet);
  const tree = from?.tree.clone() ?? new DigestTree();
  const entries: DefinitionEntry[] = [];
  const issues: Issue[] = [];
  const sizes = new Map(from?.sizes);
  let definitionBytes = from?.definitionBytes ?? 0;
  const resize = (kind: string, key: string, bytes: number): void => {
    const name = `${kind}\0${key}`;
    definitionBytes += bytes - (sizes.get(name) ?? 0);
    if (bytes === 0) sizes.delete(name);
    else sizes.set(name, bytes);
  };
  for (const [kind, key] of removed) {
    resize(kind, key, 0);
    draft.delete(kind, key);
    tree.delete(kind, key);
  }
  for (const [index, bytes] of changed.entries()) {
    const parsed = decodeDefinition(bytes);
    if (!parsed.ok) {
      issues.push(...parsed.issues.map((issue) => ({ ...issue, pointer: `/changed/${index}${issue.pointer}` })));
      continue;
    }
    const definition = parsed.value;
    const key = definitionKey(definition);
    const hash = hashDefinition(bytes);
    draft.set(key, definition);
    tree.set(definition.kind, key, hash);
    entries.push([definition.kind, key, Buffer.from(hash).toString('hex')]);
    resize(definition.kind, key, bytes.length);
  }
  if (issues.length > 0) return { issues };
  return { state: { digest: tree.digest(), flagSet: draft, tree, sizes, definitionBytes }, entries };
}
