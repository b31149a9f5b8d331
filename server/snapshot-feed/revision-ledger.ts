import type { CompiledAnswer } from '@guidon/pool';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { HighWaterMark } from '@guidon/protocol/signed-config';
import { DigestTree, type Manifest, type Signed } from '@guidon/protocol/signed-config';
import type { Fallback, IndexEntry, SnapshotStore } from '../snapshot-store/snapshot-store.js';
import { StoredBlocks } from '../snapshot-store/stored-blocks.js';

/** What a compiled change does to the stored revision. */
export interface LedgerChange {
  readonly manifest: Manifest;
  readonly signed: Signed;
  readonly mark: HighWaterMark;
  readonly answer: CompiledAnswer;
  readonly changed: readonly Uint8Array[];
  readonly removed: readonly (readonly [kind: string, key: string])[];
  /** `changed` is everything. */
  readonly isWhole: boolean;
  /** Which revision a restart may go back to: the one stored until now, the one it would have gone back to, or none. */
  readonly fallback: 'stored' | 'kept' | 'none';
}

/**
 * Which definitions and blocks of one environment the disk holds: those of the stored revision, and what the last good revision before it
 * had instead, so that a node that finds its newest revision in quarantine goes back to that one, also across a restart (I10).
 */
export class RevisionLedger {
  readonly #store: SnapshotStore;
  readonly #environment: EnvironmentRef;
  /** What the disk says, read when first needed. It stays known even when it is damaged: the next whole configuration removes what it does not name. */
  #known: Ledger | undefined;

  constructor(store: SnapshotStore, environment: EnvironmentRef) {
    this.#store = store;
    this.#environment = environment;
  }

  get hasFallback(): boolean {
    return this.#read().fallback !== undefined;
  }

  /** Hash of each definition of the stored revision, by `kind NUL key`. Another object for another revision. */
  get index(): ReadonlyMap<string, string> {
    return this.#read().index;
  }

  /** Leaves the process's memory: the disk has it, or something newer. */
  forget(): void {
    this.#known = undefined;
  }

  #read(): Ledger {
    this.#known ??= this.#store.readTogether(() => this.#readAll());
    return this.#known;
  }

  #readAll(): Ledger {
    const entries = this.#store.listEntries(this.#environment);
    const index = new Map(entries.map(([kind, key, hash]) => [`${kind}\0${key}`, hash]));
    const blockIds = new Set(this.#store.listBlockIds(this.#environment));
    const fallback = this.#store.findFallback(this.#environment);
    for (const id of fallback?.onlyBlockIds ?? []) blockIds.delete(id);
    return { index, blockIds, fallback };
  }

  /** Throws unless the definitions are those that the manifest names. */
  assertDigest({ digest }: Manifest): void {
    const tree = new DigestTree();
    for (const [name, hash] of this.#read().index) tree.set(...nameOf(name), Buffer.from(hash, 'hex'));
    if (tree.digest() !== digest) throw new PlatformError('validation-failed', 'the stored digest is wrong');
  }

  /** Of the stored revision, except for those named; undefined when one is missing or damaged. */
  definitions(except: readonly (readonly [string, string])[] = []): Uint8Array[] | undefined {
    const index = new Map(this.#read().index);
    for (const [kind, key] of except) index.delete(`${kind}\0${key}`);
    return this.#store.findDefinitions(this.#environment, index.values());
  }

  /** The blocks of the stored revision, or of what `answer` makes of it. */
  blocks(answer?: CompiledAnswer): StoredBlocks {
    const ids = (): ReadonlySet<string> => (answer === undefined ? this.#read().blockIds : this.#blockIdsAfter(answer));
    return new StoredBlocks(this.#store, this.#environment, ids, answer?.newBlocks);
  }

  /** Writes a revision, with its mark, before it is activated (I7). Of a small change it looks at what that touches alone. */
  async put(change: LedgerChange): Promise<void> {
    const { answer, changed } = change;
    const before = this.#read();
    const index = this.#indexAfter(change);
    const blockIds = this.#blockIdsAfter(answer);
    const after = lookupOf({ index, blockIds });
    const stored = lookupOf(before);
    const last = lastOf(before);
    const good = change.fallback === 'none' ? undefined : change.fallback === 'stored' ? stored : last;
    const names = touchedNames(change, before);
    const ids = touchedBlockIds(answer, before);
    const fallback = good === undefined ? undefined : fallbackOf(good, after, { names, ids });
    const isKept = (id: string): boolean => after.hasBlock(id) || good?.hasBlock(id) === true;
    const newDefinitions = new Map<string, Uint8Array>();
    for (const [position, bytes] of changed.entries()) {
      const entry = answer.entries[position];
      if (entry !== undefined) newDefinitions.set(entry[2], bytes);
    }
    await this.#store.putRevision(this.#environment, {
      mark: change.mark,
      signed: change.signed,
      root: answer.root,
      newBlocks: answer.newBlocks,
      newDefinitions,
      index: [...answer.entries, ...names.filter((name) => before.index.has(name) && !index.has(name)).map(absent)],
      droppedBlockIds: ids.filter((id) => !isKept(id) && (stored.hasBlock(id) || last?.hasBlock(id) === true)),
      droppedHashes: droppedHashes(names, { before: [stored, last], after: [after, good] }),
      fallback: fallback === undefined ? undefined : { ...fallback, isReplaced: change.fallback === 'stored' },
    });
    this.#known = { index, blockIds, fallback };
  }

  /** Makes the last good revision the stored one. False: there is none. */
  async rollBack(): Promise<boolean> {
    const content = this.#fallbackContent();
    const { index, fallback } = this.#read();
    if (fallback === undefined || content === undefined) return false;
    const kept = new Set(content.index.values());
    const dropped = new Set([...index.values()].filter((hash) => !kept.has(hash)));
    await this.#store.rollBack(this.#environment, fallback, [...dropped]);
    this.#known = { ...content, fallback: undefined };
    return true;
  }

  #indexAfter({ answer, removed, isWhole }: LedgerChange): Map<string, string> {
    const index = new Map(isWhole ? [] : this.#read().index);
    for (const [kind, key] of removed) index.delete(`${kind}\0${key}`);
    for (const [kind, key, hash] of answer.entries) index.set(`${kind}\0${key}`, hash);
    return index;
  }

  /** A full answer holds every block, another one what changes. */
  #blockIdsAfter({ isFull, newBlocks, droppedBlockIds }: CompiledAnswer): Set<string> {
    const blockIds = new Set(isFull ? [] : this.#read().blockIds);
    for (const id of isFull ? [] : droppedBlockIds) blockIds.delete(id);
    for (const id of newBlocks.keys()) blockIds.add(id);
    return blockIds;
  }

  #fallbackContent(): Content | undefined {
    const { index, blockIds, fallback } = this.#read();
    if (fallback === undefined) return undefined;
    const content = { index: new Map(index), blockIds: new Set(blockIds) };
    for (const [kind, key, hash] of fallback.index) {
      if (hash === undefined) content.index.delete(`${kind}\0${key}`);
      else content.index.set(`${kind}\0${key}`, hash);
    }
    for (const id of fallback.addedBlockIds) content.blockIds.delete(id);
    for (const id of fallback.onlyBlockIds) content.blockIds.add(id);
    return content;
  }
}

/** One revision: the hash of each definition by `kind NUL key`, and its blocks. */
interface Content {
  readonly index: Map<string, string>;
  readonly blockIds: Set<string>;
}

/** The stored revision, and how the one to go back to differs from it. */
interface Ledger extends Content {
  readonly fallback: Fallback | undefined;
}

/** What one revision has, by name and by id. */
interface Lookup {
  /** Undefined: the revision has no such definition. */
  hashOf(name: string): string | undefined;
  hasBlock(id: string): boolean;
}

function lookupOf({ index, blockIds }: Content): Lookup {
  return { hashOf: (name) => index.get(name), hasBlock: (id) => blockIds.has(id) };
}

/** The last good revision before the stored one. */
function lastOf({ index, blockIds, fallback }: Ledger): Lookup | undefined {
  if (fallback === undefined) return undefined;
  const differing = new Map(fallback.index.map(([kind, key, hash]) => [`${kind}\0${key}`, hash]));
  const [only, added] = [new Set(fallback.onlyBlockIds), new Set(fallback.addedBlockIds)];
  return {
    hashOf: (name) => (differing.has(name) ? differing.get(name) : index.get(name)),
    hasBlock: (id) => only.has(id) || (blockIds.has(id) && !added.has(id)),
  };
}

/** Everything outside of these the stored revision, the one before it and the one after it have in common. */
function touchedNames({ answer, removed, isWhole }: LedgerChange, { index, fallback }: Ledger): string[] {
  const of = ([kind, key]: readonly [string, string, ...unknown[]]): string => `${kind}\0${key}`;
  const gone = isWhole ? index.keys() : removed.map(of);
  return [...new Set([...gone, ...answer.entries.map(of), ...(fallback?.index ?? []).map(of)])];
}

function touchedBlockIds(
  { isFull, newBlocks, droppedBlockIds }: CompiledAnswer,
  { blockIds, fallback }: Ledger,
): string[] {
  const gone = isFull ? blockIds : droppedBlockIds;
  const { onlyBlockIds, addedBlockIds } = fallback ?? { onlyBlockIds: [], addedBlockIds: [] };
  return [...new Set([...gone, ...newBlocks.keys(), ...onlyBlockIds, ...addedBlockIds])];
}

/** What no revision of `after` names any more. A hash is of bytes that hold their kind and key: no two names share one. */
function droppedHashes(
  names: readonly string[],
  {
    before,
    after,
  }: { readonly before: readonly (Lookup | undefined)[]; readonly after: readonly (Lookup | undefined)[] },
): string[] {
  return names.flatMap((name) => {
    const kept = after.map((revision) => revision?.hashOf(name));
    const hashes = new Set(before.map((revision) => revision?.hashOf(name)));
    return [...hashes].flatMap((hash) => (hash === undefined || kept.includes(hash) ? [] : [hash]));
  });
}

/** How to get from `stored` to `good`. */
function fallbackOf(
  good: Lookup,
  stored: Lookup,
  { names, ids }: { readonly names: readonly string[]; readonly ids: readonly string[] },
): Fallback {
  const differing = names.filter((name) => stored.hashOf(name) !== good.hashOf(name));
  return {
    index: differing.map((name): IndexEntry => [...nameOf(name), good.hashOf(name)]),
    onlyBlockIds: ids.filter((id) => good.hasBlock(id) && !stored.hasBlock(id)),
    addedBlockIds: ids.filter((id) => stored.hasBlock(id) && !good.hasBlock(id)),
  };
}

const absent = (name: string): IndexEntry => [...nameOf(name), undefined];

function nameOf(name: string): readonly [kind: string, key: string] {
  const separator = name.indexOf('\0');
  return [name.slice(0, separator), name.slice(separator + 1)];
}
