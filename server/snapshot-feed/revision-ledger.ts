import type { CompiledAnswer } from '@guidon/pool';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import { DigestTree, type Manifest, type Signed } from '@guidon/protocol/signed-config';
import type { Fallback, HighWaterMark, IndexEntry, SnapshotStore } from '../snapshot-store/snapshot-store.js';
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
  /** Hash of each definition of the stored revision by `kind NUL key`. */
  #index = new Map<string, string>();
  #blockIds = new Set<string>();
  #fallback: Fallback | undefined;
  /** False where another process writes: then the disk is read when somebody needs it. */
  #isRead = false;

  constructor(store: SnapshotStore, environment: EnvironmentRef) {
    this.#store = store;
    this.#environment = environment;
  }

  get hasFallback(): boolean {
    this.#mustBeRead();
    return this.#fallback !== undefined;
  }

  /** Reads the disk. What is found stays known even when it is damaged: the next whole configuration removes what it does not name. */
  read(): void {
    this.#store.readTogether(() => this.#read());
    this.#isRead = true;
  }

  /** Another process has changed the disk. */
  forget(): void {
    this.#isRead = false;
  }

  #mustBeRead(): void {
    if (!this.#isRead) this.read();
  }

  #read(): void {
    const entries = this.#store.listEntries(this.#environment);
    this.#index = new Map(entries.map(([kind, key, hash]) => [`${kind}\0${key}`, hash]));
    this.#blockIds = new Set(this.#store.listBlockIds(this.#environment));
    this.#fallback = this.#store.findFallback(this.#environment);
    for (const id of this.#fallback?.onlyBlockIds ?? []) this.#blockIds.delete(id);
  }

  /** Throws unless the definitions are those that the manifest names. */
  assertDigest({ digest }: Manifest): void {
    this.#mustBeRead();
    const tree = new DigestTree();
    for (const [name, hash] of this.#index) tree.set(...nameOf(name), Buffer.from(hash, 'hex'));
    if (tree.digest() !== digest) throw new PlatformError('validation-failed', 'the stored digest is wrong');
  }

  /** Of the stored revision, except for those named; undefined when one is missing or damaged. */
  definitions(except: readonly (readonly [string, string])[] = []): Uint8Array[] | undefined {
    this.#mustBeRead();
    const index = new Map(this.#index);
    for (const [kind, key] of except) index.delete(`${kind}\0${key}`);
    return this.#store.findDefinitions(this.#environment, index.values());
  }

  /** The blocks of the stored revision, or of what `answer` makes of it. */
  blocks(answer?: CompiledAnswer): StoredBlocks {
    const ids = (): ReadonlySet<string> => {
      this.#mustBeRead();
      return answer === undefined ? this.#blockIds : this.#blockIdsAfter(answer);
    };
    return new StoredBlocks(this.#store, this.#environment, ids, answer?.newBlocks);
  }

  /** Writes a revision, with its mark, before it is activated (I7). */
  async put(change: LedgerChange): Promise<void> {
    this.#mustBeRead();
    const { answer, changed } = change;
    const before = { index: this.#index, blockIds: this.#blockIds };
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
    this.#index = index;
    this.#blockIds = blockIds;
    this.#fallback = fallback;
  }

  /** Makes the last good revision the stored one. False: there is none. */
  async rollBack(): Promise<boolean> {
    this.#mustBeRead();
    const content = this.#fallbackContent();
    if (this.#fallback === undefined || content === undefined) return false;
    const kept = new Set(content.index.values());
    const dropped = new Set([...this.#index.values()].filter((hash) => !kept.has(hash)));
    await this.#store.rollBack(this.#environment, this.#fallback, [...dropped]);
    this.#index = content.index;
    this.#blockIds = content.blockIds;
    this.#fallback = undefined;
    return true;
  }

  #indexAfter({ answer, removed, isWhole }: LedgerChange): Map<string, string> {
    const index = new Map(isWhole ? [] : this.#index);
    for (const [kind, key] of removed) index.delete(`${kind}\0${key}`);
    for (const [kind, key, hash] of answer.entries) index.set(`${kind}\0${key}`, hash);
    return index;
  }

  /** A full answer holds every block, another one what changes. */
  #blockIdsAfter({ isFull, newBlocks, droppedBlockIds }: CompiledAnswer): Set<string> {
    const blockIds = new Set(isFull ? [] : this.#blockIds);
    for (const id of isFull ? [] : droppedBlockIds) blockIds.delete(id);
    for (const id of newBlocks.keys()) blockIds.add(id);
    return blockIds;
  }

  #fallbackContent(): Content | undefined {
    if (this.#fallback === undefined) return undefined;
    const index = new Map(this.#index);
    for (const [kind, key, hash] of this.#fallback.index) {
      if (hash === undefined) index.delete(`${kind}\0${key}`);
      else index.set(`${kind}\0${key}`, hash);
    }
    const blockIds = new Set(this.#blockIds);
    for (const id of this.#fallback.addedBlockIds) blockIds.delete(id);
    for (const id of this.#fallback.onlyBlockIds) blockIds.add(id);
    return { index, blockIds };
  }
}

interface Content {
  readonly index: Map<string, string>;
  readonly blockIds: Set<string>;
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
