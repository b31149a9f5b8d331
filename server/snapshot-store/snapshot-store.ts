import { hash } from 'node:crypto';
import type { DefinitionEntry } from '@guidon/pool';
import { type EnvironmentRef, parseEnvironmentRef } from '@guidon/protocol';
import type { HighWaterMark, Signed } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import { keys, type MarkTopic, type StoreKey } from './keys.js';
import { type RowChange, RowStore, type StoreRole } from './row-store.js';
import { openJson, sealJson } from './sealed-json.js';
import type { StoreChange } from './store-change.js';
import { storeDirectoryOf } from './store-directory.js';

export interface PersistedState {
  readonly signed: Signed;
  /** Absent when the stored one has changed. */
  readonly root: Uint8Array | undefined;
}

/** A definition's hash, by name; without one it is absent. */
export type IndexEntry = readonly [kind: string, key: string, hash: string | undefined];

/** How the last good revision before differs from the stored one. Its other definitions and blocks are those of the stored one. */
export interface Fallback {
  readonly index: readonly IndexEntry[];
  /** Blocks of the fallback alone, and of the stored revision alone. */
  readonly onlyBlockIds: readonly string[];
  readonly addedBlockIds: readonly string[];
}

export interface RevisionWrite {
  readonly mark: HighWaterMark;
  readonly signed: Signed;
  readonly root: Uint8Array;
  readonly newBlocks: ReadonlyMap<string, Uint8Array>;
  /** Definitions that nothing stored had, by hash. */
  readonly newDefinitions: ReadonlyMap<string, Uint8Array>;
  readonly index: readonly IndexEntry[];
  /** What neither this revision nor its fallback names any more. */
  readonly droppedBlockIds: readonly string[];
  readonly droppedHashes: readonly string[];
  /** `isReplaced`: the fallback is the revision stored until now; else it stays the one it was. */
  readonly fallback: (Fallback & { readonly isReplaced: boolean }) | undefined;
}

export interface Quarantine {
  readonly epoch: number;
  readonly revision: number;
  readonly digest: string;
  readonly reason: string;
  /** Of the evaluator that the check failed in: another one tries again. */
  readonly build: string;
}

/**
 * What the node keeps of its environments: everything needed to answer after a restart with nobody else there. It is a cache of
 * what the control plane has, except for the high-water marks. Whatever is read is checked again by its reader.
 */
export class SnapshotStore {
  readonly #rows: RowStore;
  #changeCount: number;
  #onChange: (change: StoreChange) => void = () => undefined;

  private constructor(rows: RowStore) {
    this.#rows = rows;
    this.#changeCount = this.storedChangeCount();
  }

  static async open(dataDirectory: string, logger: pino.Logger, role: StoreRole = 'sole'): Promise<SnapshotStore> {
    return new SnapshotStore(await RowStore.open(storeDirectoryOf(dataDirectory), role, logger));
  }

  /** Of a reader: from now on this process is the one that writes. */
  async becomeWriter(): Promise<void> {
    await this.#rows.becomeWriter();
    this.#changeCount = this.storedChangeCount();
  }

  /** Told of each change once it is on disk: what the other processes of this node are told. */
  onChange(listener: (change: StoreChange) => void): void {
    this.#onChange = listener;
  }

  /** Changes committed so far. Another number than the one remembered: something has changed. */
  storedChangeCount(): number {
    return Number(this.#findJson(keys.changeCount())?.count ?? 0);
  }

  /** See RowStore.readTogether: everything that `read` reads is of one moment. */
  readTogether<Result>(read: () => Result): Result {
    return this.#rows.readTogether(read);
  }

  /** Another process writes it. */
  get isReader(): boolean {
    return this.#rows.isReader;
  }

  forgetDeadReaders(): void {
    this.#rows.forgetDeadReaders();
  }

  get status(): RowStore['status'] {
    return this.#rows.status;
  }

  usage(): { usedBytes: number } {
    return this.#rows.usage();
  }

  close(): Promise<void> {
    return this.#rows.close();
  }

  listEnvironments(): EnvironmentRef[] {
    return this.#rows.list(keys.environments()).flatMap((key) => {
      const value = this.#findJson(key);
      return value === undefined ? [] : [parseEnvironmentRef(value)];
    });
  }

  findMark(environment: EnvironmentRef, topic: MarkTopic): HighWaterMark | undefined {
    const value = this.#findJson(keys.mark(environment, topic));
    if (value === undefined) return undefined;
    const { epoch, revision, digest } = value;
    return typeof epoch === 'number' && typeof revision === 'number' && typeof digest === 'string'
      ? { epoch, revision, digest }
      : undefined;
  }

  /** Undefined when nothing was stored. Blocks are not part of it: the kernel checks each by its id. */
  findState(environment: EnvironmentRef): PersistedState | undefined {
    const value = this.#findJson(keys.state(environment));
    const signed = signedFrom(value);
    if (value === undefined || signed === undefined) return undefined;
    const root = this.#rows.find(keys.root(environment, String(value.rootHash)));
    return { signed, root: root !== undefined && sha256(root) === value.rootHash ? root : undefined };
  }

  /** The manifest of what was stored, as it was signed. */
  findSigned(environment: EnvironmentRef): Signed | undefined {
    return signedFrom(this.#findJson(keys.state(environment)));
  }

  /** Something was stored; findState() says whether it is good. */
  hasState(environment: EnvironmentRef): boolean {
    return this.#rows.findBorrowed(keys.state(environment)) !== undefined;
  }

  findBlock(environment: EnvironmentRef, id: string): Uint8Array | undefined {
    return this.#rows.readTogether(() => {
      const borrowed = this.#rows.findBorrowed(keys.block(environment, id));
      // Out of Buffer's slab: a memory of its own for each would be most of what collecting the garbage of a reload takes.
      return borrowed === undefined ? undefined : Buffer.from(borrowed);
    });
  }

  listBlockIds(environment: EnvironmentRef): string[] {
    return this.#rows.list(keys.blocks(environment)).map((key) => key[3] ?? '');
  }

  /** Definition entries of the stored revision; damaged rows are missing, which the digest shows. */
  listEntries(environment: EnvironmentRef): DefinitionEntry[] {
    return this.#rows.list(keys.index(environment)).flatMap((key) => {
      const value = this.#findJson(key);
      if (value === undefined) return [];
      return [[String(value.kind), String(value.key), String(value.hash)] as const];
    });
  }

  /** Copies of the definitions with these hashes; undefined when one is missing or has changed. */
  findDefinitions(environment: EnvironmentRef, hashes: Iterable<string>): Uint8Array[] | undefined {
    const definitions: Uint8Array[] = [];
    for (const hash of hashes) {
      const bytes = this.#rows.find(keys.definition(environment, hash));
      if (bytes === undefined || sha256(bytes) !== hash) return undefined;
      definitions.push(bytes);
    }
    return definitions;
  }

  findAccess(environment: EnvironmentRef): Signed | undefined {
    return signedFrom(this.#findJson(keys.access(environment)));
  }

  listQuarantine(environment: EnvironmentRef): Quarantine[] {
    return this.#rows.list(keys.quarantined(environment)).flatMap((key) => {
      const value = this.#findJson(key);
      if (value === undefined || typeof value.epoch !== 'number' || typeof value.revision !== 'number') return [];
      const { epoch, revision } = value;
      const { digest, reason, build } = value;
      return [{ epoch, revision, digest: String(digest), reason: String(reason), build: String(build) }];
    });
  }

  findTrust(): { rootPublicKey: string; keySet: Signed } | undefined {
    const value = this.#findJson(keys.trust());
    const keySet = signedFrom(value);
    return keySet === undefined ? undefined : { rootPublicKey: String(value?.rootPublicKey), keySet };
  }

  /** Undefined when there is none or it has changed. */
  findFallback(environment: EnvironmentRef): Fallback | undefined {
    const value = this.#findJson(keys.fallback(environment));
    if (value === undefined || this.#rows.findBorrowed(keys.fallbackState(environment)) === undefined) return undefined;
    const { index, onlyBlockIds, addedBlockIds } = value;
    if (!Array.isArray(index) || !Array.isArray(onlyBlockIds) || !Array.isArray(addedBlockIds)) return undefined;
    return {
      index: index.map(([kind, key, hash]: unknown[]) => [
        String(kind),
        String(key),
        typeof hash === 'string' ? hash : undefined,
      ]),
      onlyBlockIds: onlyBlockIds.map(String),
      addedBlockIds: addedBlockIds.map(String),
    };
  }

  /** The revision with its high-water mark, all or none; before its activation (I7). False: in memory only, the disk refused. */
  putRevision(environment: EnvironmentRef, write: RevisionWrite): Promise<boolean> {
    const { mark, signed, root, fallback } = write;
    const rootHash = sha256(root);
    const kept = fallback?.isReplaced === true ? keys.state(environment) : keys.fallbackState(environment);
    const named = [rootHash, ...(fallback === undefined ? [] : [this.#rootHashAt(kept)])];
    const loose: RowChange[] = [
      ...[...write.newBlocks].map(([id, value]) => ({ key: keys.block(environment, id), value })),
      ...[...write.newDefinitions].map(([hash, value]) => ({ key: keys.definition(environment, hash), value })),
    ];
    const changes: RowChange[] = [
      ...this.#fallbackRows(environment, fallback),
      { key: keys.environment(environment), value: sealJson(environment) },
      { key: keys.mark(environment, 'config'), value: sealJson(mark) },
      { key: keys.state(environment), value: sealJson({ ...rowOf(signed), rootHash }) },
      { key: keys.root(environment, rootHash), value: root },
      ...this.#droppedRoots(environment, named),
      ...write.index.map((entry) => indexRow(environment, entry)),
      ...write.droppedHashes.map((hash) => ({ key: keys.definition(environment, hash) })),
      ...write.droppedBlockIds.map((id) => ({ key: keys.block(environment, id) })),
    ];
    return this.#commit(environment, changes, loose);
  }

  /** Another signature of the stored revision; everything else of it stays. */
  putManifest(environment: EnvironmentRef, signed: Signed): Promise<boolean> {
    const rootHash = this.#rootHashAt(keys.state(environment));
    return this.#commit(environment, [
      { key: keys.state(environment), value: sealJson({ ...rowOf(signed), rootHash }) },
    ]);
  }

  #fallbackRows(environment: EnvironmentRef, fallback: RevisionWrite['fallback']): RowChange[] {
    const row = keys.fallback(environment);
    const state = keys.fallbackState(environment);
    if (fallback === undefined) return [{ key: row }, { key: state }];
    const { isReplaced, ...value } = fallback;
    return [{ key: row, value: sealJson(value) }, ...(isReplaced ? [this.#moved(keys.state(environment), state)] : [])];
  }

  #rootHashAt(state: StoreKey): string {
    return String(this.#findJson(state)?.rootHash);
  }

  /** Roots of what is stored until now that are not `named` any more. */
  #droppedRoots(environment: EnvironmentRef, named: readonly string[]): RowChange[] {
    const hashes = [keys.state(environment), keys.fallbackState(environment)].map((state) => this.#rootHashAt(state));
    return hashes.filter((hash) => !named.includes(hash)).map((hash) => ({ key: keys.root(environment, hash) }));
  }

  /** The row at `from` as a row at `to`; without one, the removal of `to`. */
  #moved(from: StoreKey, to: StoreKey): RowChange {
    const value = this.#rows.find(from);
    return value === undefined ? { key: to } : { key: to, value };
  }

  /** Makes the fallback the stored revision; the high-water mark stays (I7). */
  rollBack(environment: EnvironmentRef, fallback: Fallback, droppedHashes: readonly string[]): Promise<boolean> {
    return this.#commit(environment, [
      this.#moved(keys.fallbackState(environment), keys.state(environment)),
      ...this.#droppedRoots(environment, [this.#rootHashAt(keys.fallbackState(environment))]),
      ...this.#fallbackRows(environment, undefined),
      ...fallback.index.map((entry) => indexRow(environment, entry)),
      ...droppedHashes.map((hash) => ({ key: keys.definition(environment, hash) })),
      ...fallback.addedBlockIds.map((id) => ({ key: keys.block(environment, id) })),
    ]);
  }

  putAccess(environment: EnvironmentRef, signed: Signed, mark: HighWaterMark): Promise<boolean> {
    return this.#commit(environment, [
      { key: keys.environment(environment), value: sealJson(environment) },
      { key: keys.mark(environment, 'access'), value: sealJson(mark) },
      { key: keys.access(environment), value: sealJson(rowOf(signed)) },
    ]);
  }

  /** `forgotten` are removed with it. */
  putQuarantine(
    environment: EnvironmentRef,
    quarantine: Quarantine,
    forgotten: readonly Quarantine[],
  ): Promise<boolean> {
    const keyOf = ({ digest, build }: Quarantine): StoreKey => keys.quarantine(environment, digest, build);
    return this.#commit(environment, [
      ...forgotten.map((one) => ({ key: keyOf(one) })),
      { key: keyOf(quarantine), value: sealJson(quarantine) },
    ]);
  }

  putTrust(rootPublicKey: string, keySet: Signed): Promise<boolean> {
    return this.#commit(undefined, [{ key: keys.trust(), value: sealJson({ ...rowOf(keySet), rootPublicKey }) }]);
  }

  /** The heads of audit logs that this node has seen and holds against what it is shown later. */
  listWitnessedHeads(): Signed[] {
    return this.#rows.list(keys.witnessedHeads()).flatMap((key) => signedFrom(this.#findJson(key)) ?? []);
  }

  /** By whose log it is: a tenant's, or `$`. */
  putWitnessedHeads(heads: ReadonlyMap<string, Signed>): Promise<boolean> {
    const rows = [...heads].map(([owner, head]) => ({ key: keys.witnessedHead(owner), value: sealJson(rowOf(head)) }));
    return this.#commit(undefined, rows);
  }

  /** Forgets an environment, except for its high-water marks: should it come back, it does not come back older. */
  removeEnvironment(environment: EnvironmentRef): Promise<boolean> {
    const rows = this.#rows.list(keys.all(environment)).filter((key) => key[2] !== 'mark');
    const changes: RowChange[] = [...rows, keys.environment(environment)].map((key) => ({ key }));
    return this.#commit(environment, changes);
  }

  async #commit(
    environment: EnvironmentRef | undefined,
    changes: readonly RowChange[],
    loose: readonly RowChange[] = [],
  ): Promise<boolean> {
    this.#changeCount += 1;
    const { environmentId } = environment ?? {};
    const change: StoreChange = {
      count: this.#changeCount,
      ...(environmentId === undefined ? {} : { environmentId }),
    };
    const row = { key: keys.changeCount(), value: sealJson({ count: change.count }) };
    const isDurable = await this.#rows.commit([...changes, row], loose);
    // What is in memory only, the others cannot read; they see the gap in the count when it has been written later.
    if (isDurable) this.#onChange(change);
    return isDurable;
  }

  #findJson(key: StoreKey): Readonly<Record<string, unknown>> | undefined {
    const bytes = this.#rows.findBorrowed(key);
    return bytes === undefined ? undefined : openJson(bytes);
  }
}

function indexRow(environment: EnvironmentRef, [kind, key, hash]: IndexEntry): RowChange {
  const row = keys.indexEntry(environment, sha256(`${kind}\0${key}`));
  return hash === undefined ? { key: row } : { key: row, value: sealJson({ kind, key, hash }) };
}

function rowOf({ document, signature }: Signed): { document: string; signature: string } {
  return { document: Buffer.from(document).toString('base64'), signature: Buffer.from(signature).toString('base64') };
}

function signedFrom(value: Readonly<Record<string, unknown>> | undefined): Signed | undefined {
  if (typeof value?.document !== 'string' || typeof value.signature !== 'string') return undefined;
  return { document: Buffer.from(value.document, 'base64'), signature: Buffer.from(value.signature, 'base64') };
}

function sha256(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex');
}
