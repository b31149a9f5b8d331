import type { EnvironmentRef } from '@guidon/protocol';
import type { StoreReader, StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';

/** A node that is further behind is given the whole configuration. */
export const DELTA_REVISIONS_MAX = 1_000;

/** The row under `keys.environmentState`. */
export interface EnvironmentStateRow extends EnvironmentRef {
  readonly epoch: number;
  readonly revision: number;
  /** DigestTree root, hex; equal to the manifest's. */
  readonly digest: string;
  /** The oldest revision whose definitions are all kept (definition-history.ts). */
  readonly oldestRevision: number;
}

/** The row under `keys.definitionEntry`: which bytes are in force. */
export interface DefinitionEntryRow {
  readonly kind: string;
  readonly key: string;
  readonly hash: string;
}

/** The row under `keys.revision`. Never removed: what happened is known for ever, what was served as long as history keeps it. */
export interface RevisionRow {
  readonly epoch: number;
  readonly revision: number;
  /** The signed manifest: exact text, and signature in base64. */
  readonly manifest: string;
  readonly signature: string;
  readonly changed: readonly DefinitionEntryRow[];
  readonly removed: readonly (readonly [kind: string, key: string])[];
  /** Hashes of the bytes that were in force until this revision. */
  readonly replaced: readonly string[];
  readonly at: number;
  readonly actorName: string;
  readonly action: string;
  readonly summary: string;
  readonly auditSequence: number;
}

/** One definition that a change puts in force or removes (`bytes` undefined), compared with what is in force. */
export interface ResolvedDefinition {
  readonly kind: string;
  readonly key: string;
  readonly hash: string | undefined;
  readonly bytes: Uint8Array | undefined;
  readonly previousHash: string | undefined;
}

export function findEntry(
  store: StoreReader,
  environment: EnvironmentRef,
  kind: string,
  key: string,
): DefinitionEntryRow | undefined {
  return store.find<DefinitionEntryRow>(keys.definitionEntry(environment, kind, key));
}

/** Writes entries and bytes; bytes that are stored already are not written again. */
export function putDefinitions(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  revision: number,
  definitions: readonly ResolvedDefinition[],
): void {
  for (const { kind, key, hash, bytes } of definitions) {
    const entryKey = keys.definitionEntry(environment, kind, key);
    if (hash === undefined || bytes === undefined) {
      transaction.remove(entryKey);
      continue;
    }
    transaction.put(entryKey, { kind, key, hash } satisfies DefinitionEntryRow);
    const bytesKey = keys.definition(environment, hash);
    if (!transaction.has(bytesKey)) transaction.putBytes(bytesKey, bytes);
    transaction.put(keys.definitionUse(environment, hash), revision);
  }
}

/** Revisions that are looked up one by one: those just made are in memory. */
const LOOKED_UP_MAX = 8;

/** In order, those after `since` up to `revision`. */
function revisionsAfter(
  store: StoreReader,
  environment: EnvironmentRef,
  since: number,
  revision: number,
): { value: RevisionRow }[] {
  const limit = revision - since;
  if (limit > LOOKED_UP_MAX) return store.list<RevisionRow>(keys.revisions(environment), { after: since, limit });
  const rows: { value: RevisionRow }[] = [];
  for (let each = since + 1; each <= revision; each += 1) {
    const value = store.find<RevisionRow>(keys.revision(environment, each));
    if (value !== undefined) rows.push({ value });
  }
  return rows;
}

/** What changed after `since` up to `revision`, as (kind, key) pairs; undefined when that is further back than deltas go. */
export function changesSince(
  store: StoreReader,
  environment: EnvironmentRef,
  since: number,
  revision: number,
): { kind: string; key: string }[] | undefined {
  if (revision - since > DELTA_REVISIONS_MAX) return undefined;
  const rows = revisionsAfter(store, environment, since, revision);
  if (rows[0]?.value.revision !== since + 1) return rows.length === 0 ? [] : undefined;
  const touched = new Map<string, { kind: string; key: string }>();
  for (const { value } of rows) {
    for (const { kind, key } of value.changed) touched.set(`${kind}\0${key}`, { kind, key });
    for (const [kind, key] of value.removed) touched.set(`${kind}\0${key}`, { kind, key });
  }
  return [...touched.values()];
}
