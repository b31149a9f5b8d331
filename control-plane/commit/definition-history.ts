import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { StoreReader, StoreTransaction } from '../store/control-store.js';
import { keys, lastPart } from '../store/keys.js';
import type { DefinitionEntryRow, EnvironmentStateRow, RevisionRow } from './definition-store.js';

/**
 * What an environment served at any kept revision. Each change of a definition leaves a row {name, revision -> hash}, so one definition at
 * revision N is one look-up: the last row at or before N. Revision rows stay for ever; the bytes of definitions, and these rows, go when no
 * kept revision names them any more.
 */
export interface HistoryRetention {
  /** The newest so many revisions are kept whatever their age … */
  readonly revisions: number;
  /** … and those that were in force so many milliseconds ago whatever their number. */
  readonly ageMs: number;
}

export const HISTORY_RETENTION: HistoryRetention = { revisions: 10_000, ageMs: 400 * 24 * 3_600_000 };

/** Revisions that one commit lets go at most: when retention was lowered, a write must not pay for all of it. */
const PRUNED_PER_COMMIT_MAX = 4;

/** The identity of a definition. */
export interface DefinitionName {
  readonly kind: string;
  readonly key: string;
}

/** The row under `keys.definitionChange`; null = removed. */
interface DefinitionChangeRow {
  readonly hash: string | null;
}

/** Called for each definition that `revision` puts in force or removes (`hash` undefined). */
export function recordChange(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  revision: number,
  { kind, key, hash }: DefinitionName & { readonly hash: string | undefined },
): void {
  const row: DefinitionChangeRow = { hash: hash ?? null };
  transaction.put(keys.definitionChange(environment, kind, key, revision), row);
  const nameKey = keys.definitionName(environment, kind, key);
  if (!transaction.has(nameKey)) transaction.put(nameKey, { kind, key } satisfies DefinitionName);
}

/** The definition that was in force at a kept revision. */
export function findEntryAt(
  store: StoreReader,
  environment: EnvironmentRef,
  { kind, key }: DefinitionName,
  revision: number,
): DefinitionEntryRow | undefined {
  const range = keys.definitionChangesOf(environment, kind, key);
  const [last] = store.list<DefinitionChangeRow>(range, { after: revision + 1, reverse: true, limit: 1 });
  const hash = last?.value.hash ?? undefined;
  return hash === undefined ? undefined : { kind, key, hash };
}

/** The next revision after `revision` at which this definition became another, or went, or came. */
export function findNextChange(
  store: StoreReader,
  environment: EnvironmentRef,
  { kind, key }: DefinitionName,
  revision: number,
): number | undefined {
  const range = keys.definitionChangesOf(environment, kind, key);
  const [next] = store.list<DefinitionChangeRow>(range, { after: revision, limit: 1 });
  return next === undefined ? undefined : Number(lastPart(next.key));
}

/** Further apart than this, going through all names costs less than going through the revisions. */
const REVISIONS_WALKED_MAX = 1_000;

/** Every name that may differ between two kept revisions; some may have come back to what they were. */
export function namesTouchedBetween(
  store: StoreReader,
  environment: EnvironmentRef,
  one: number,
  other: number,
): DefinitionName[] {
  const [from, to] = one < other ? [one, other] : [other, one];
  const limit = to - from;
  if (limit > REVISIONS_WALKED_MAX) {
    return store.list<DefinitionName>(keys.definitionNames(environment)).map(({ value }) => value);
  }
  if (limit === 0) return [];
  const touched = new Map<string, DefinitionName>();
  for (const { value } of store.list<RevisionRow>(keys.revisions(environment), { after: from, limit })) {
    for (const { kind, key } of value.changed) touched.set(`${kind}\0${key}`, { kind, key });
    for (const [kind, key] of value.removed) touched.set(`${kind}\0${key}`, { kind, key });
  }
  return [...touched.values()];
}

/** 404 for a revision that was never made, 410 for one whose definitions are no longer all there. */
export function assertKept(store: StoreReader, environment: EnvironmentRef, revision: number): void {
  const state = store.find<EnvironmentStateRow>(keys.environmentState(environment));
  if (state === undefined || revision < 1 || revision > state.revision) {
    throw new PlatformError('not-found', `there is no revision ${revision}`);
  }
  if (revision < state.oldestRevision) {
    throw new PlatformError('revision-gone', `the oldest revision kept is ${state.oldestRevision}`, {
      extensions: { oldestRevision: state.oldestRevision },
    });
  }
}

/** Lets go what only revisions out of retention need. Answers the oldest revision that is kept from now on. */
export function pruneHistory(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  { oldest, newest }: { readonly oldest: number; readonly newest: number },
  { now, retention }: { readonly now: number; readonly retention: HistoryRetention },
): number {
  let kept = oldest;
  for (let count = 0; count < PRUNED_PER_COMMIT_MAX && newest - kept >= retention.revisions; count += 1) {
    const next = transaction.find<RevisionRow>(keys.revision(environment, kept + 1));
    // A revision was in force until the next one was made.
    if (next === undefined || now - next.at < retention.ageMs) break;
    forgetBefore(transaction, environment, next);
    kept = next.revision;
  }
  return kept;
}

/** `row` becomes the oldest revision that is kept. */
function forgetBefore(transaction: StoreTransaction, environment: EnvironmentRef, row: RevisionRow): void {
  dropReplaced(transaction, environment, row);
  for (const { kind, key } of row.changed) forgetChangeBefore(transaction, environment, { kind, key }, row.revision);
  for (const [kind, key] of row.removed) {
    forgetChangeBefore(transaction, environment, { kind, key }, row.revision);
    transaction.remove(keys.definitionChange(environment, kind, key, row.revision));
    const [later] = transaction.list(keys.definitionChangesOf(environment, kind, key), { limit: 1 });
    if (later === undefined) transaction.remove(keys.definitionName(environment, kind, key));
  }
}

/** Drops the bytes that `row` replaced, unless a later revision put the same bytes in force again. */
export function dropReplaced(transaction: StoreTransaction, environment: EnvironmentRef, row: RevisionRow): void {
  for (const hash of row.replaced) {
    // The hash covers kind and key, so nothing else can use the bytes.
    const lastUse = transaction.find<number>(keys.definitionUse(environment, hash)) ?? 0;
    if (lastUse >= row.revision) continue;
    transaction.remove(keys.definition(environment, hash));
    transaction.remove(keys.definitionUse(environment, hash));
  }
}

/** There is one at most: those before it went with the revisions before. */
function forgetChangeBefore(
  transaction: StoreTransaction,
  environment: EnvironmentRef,
  { kind, key }: DefinitionName,
  revision: number,
): void {
  const range = keys.definitionChangesOf(environment, kind, key);
  const [previous] = transaction.list(range, { after: revision, reverse: true, limit: 1 });
  if (previous !== undefined) transaction.remove(previous.key);
}
