import type { EnvironmentRef } from '@guidon/protocol';
import type { StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { dropReplaced, recordChange } from './definition-history.js';
import type { DefinitionEntryRow, EnvironmentStateRow, RevisionRow } from './definition-store.js';
import { type Definition, definitionKey } from './engine.js';

/**
 * Makes the history of an environment whose store kept none (format 2): its revisions named what they put in force, and of what they replaced
 * only the hash, so that the name is read off the bytes. What the oldest revision row left in force counts as made by it.
 */
export function rebuildHistory(transaction: StoreTransaction, environment: EnvironmentRef): void {
  const state = transaction.find<EnvironmentStateRow>(keys.environmentState(environment));
  const rows = transaction.list<RevisionRow>(keys.revisions(environment)).map(({ value }) => value);
  const [oldest, ...later] = rows;
  if (state === undefined || oldest === undefined) return;
  const record = (revision: number, entry: { kind: string; key: string; hash: string | undefined }): void =>
    recordChange(transaction, environment, revision, entry);
  dropReplaced(transaction, environment, oldest);

  const made = new Set(later.flatMap(({ changed }) => changed.map(({ hash }) => hash)));
  const inForce = transaction.list<DefinitionEntryRow>(keys.definitionEntries(environment)).map(({ value }) => value);
  for (const entry of inForce) if (!made.has(entry.hash)) record(oldest.revision, entry);
  const touched = new Set<string>();
  for (const { replaced, changed, removed, revision } of later) {
    for (const hash of replaced) {
      const entry = readEntry(transaction, environment, hash);
      const isFirst = entry !== undefined && !touched.has(`${entry.kind}\0${entry.key}`);
      if (isFirst) record(oldest.revision, entry);
    }
    const names = [...changed, ...removed.map(([kind, key]) => ({ kind, key, hash: undefined }))];
    for (const entry of names) {
      touched.add(`${entry.kind}\0${entry.key}`);
      record(revision, entry);
    }
  }
  transaction.put(keys.environmentState(environment), {
    ...state,
    oldestRevision: oldest.revision,
  } satisfies EnvironmentStateRow);
}

function readEntry(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  hash: string,
): DefinitionEntryRow | undefined {
  const bytes = transaction.findBytes(keys.definition(environment, hash));
  if (bytes === undefined) return undefined;
  const definition = JSON.parse(bytes.toString('utf8')) as Definition;
  return { kind: definition.kind, key: definitionKey(definition), hash };
}
