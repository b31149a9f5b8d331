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

  /** Writes a revision, with its mark, before it is activated (I7). */
  async put(change: LedgerChange): Promise<void> {
    const { answer, changed } = change;
    const before = this.#read();
    const index = this.#indexAfter(change);
    const blockIds = this.#blockIdsAfter(answer);
    const last = this.#fallbackContent();
    const next = change.fallback === 'none' ? undefined : change.fallback === 'stored' ? before : last;
    const fallback = next === undefined ? undefined : fallbackOf(next, { index, blockIds });
    const known = new Set([...before.index.values(), ...(last?.index.values() ?? [])]);
    const hashes = new Set([...index.values(), ...(next?.index.values() ?? [])]);
    const blocks = new Set([...before.blockIds, ...(last?.blockIds ?? [])]);
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
      index: [
        ...answer.entries,
        ...[...before.index.keys()].filter((name) => !index.has(name)).map((name) => absent(name)),
      ],
      droppedBlockIds: [...blocks].filter((id) => !blockIds.has(id) && next?.blockIds.has(id) !== true),
      droppedHashes: [...known].filter((hash) => !hashes.has(hash)),
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

/** How to get from `stored` to `good`. */
function fallbackOf(good: Content, stored: Content): Fallback {
  const restored = [...good.index].filter(([name, hash]) => stored.index.get(name) !== hash);
  const added = [...stored.index.keys()].filter((name) => !good.index.has(name));
  return {
    index: [...restored.map(([name, hash]): IndexEntry => [...nameOf(name), hash]), ...added.map(absent)],
    onlyBlockIds: [...good.blockIds].filter((id) => !stored.blockIds.has(id)),
    addedBlockIds: [...stored.blockIds].filter((id) => !good.blockIds.has(id)),
  };
}

const absent = (name: string): IndexEntry => [...nameOf(name), undefined];

function nameOf(name: string): readonly [kind: string, key: string] {
  const separator = name.indexOf('\0');
  return [name.slice(0, separator), name.slice(separator + 1)];
}
