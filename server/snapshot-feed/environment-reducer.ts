import type { ResidentSnapshot } from '@guidon/engine';
import type { CompiledAnswer, CompilePool } from '@guidon/pool';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import {
  type ConfigMessage,
  DigestTree,
  type Manifest,
  type Signed,
  type TrustedKeys,
} from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { AccessDirectory } from '../auth/access-directory.js';
import type { ActiveSnapshot, EnvironmentSlot } from '../environment-slot.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { HighWaterMark, Quarantine, SnapshotStore } from '../snapshot-store/snapshot-store.js';
import { StoredBlocks } from '../snapshot-store/stored-blocks.js';
import { compareOrder, decideConfig } from './config-decision.js';

export interface ReducerParts {
  readonly store: SnapshotStore;
  readonly pool: CompilePool;
  readonly kernel: SnapshotKernel;
  readonly directory: AccessDirectory;
  readonly keys: () => TrustedKeys;
  readonly logger: pino.Logger;
  /** Wall clock, milliseconds. */
  readonly now: () => number;
}

/**
 * `activated`: it serves now. `ignored`: nothing to do. `fetch` and `fetch-whole`: ask the control plane for the change, or for everything.
 * `refused`: it is not to be trusted or was tried and failed a check. `failed`: try again later.
 */
export type Outcome = 'activated' | 'ignored' | 'fetch' | 'fetch-whole' | 'refused' | 'failed';

/** A worker that dies of the same definitions this often is dying of them. */
const STRIKES_MAX = 3;
/** I20 and the threat model: so many traps of one revision, and the one before serves again. */
const TRAPS_MAX = 3;

/**
 * The only way config and access lists come into force for one environment, whatever source they came from (I7, I9, I10).
 *
 *   message -> signature, environment -> revision rules (decideConfig) -> worker: apply, digest, compile, verify, smoke evaluation
 *     -> kernel memory -> disk, with the high-water mark -> pointer swap -> release of what served before the last
 *
 * A step that fails leaves everything as it was: the last good snapshot serves. Callers run one call at a time (SerialQueue).
 */
export class EnvironmentReducer {
  readonly environment: EnvironmentRef;
  readonly slot: EnvironmentSlot;
  readonly counters = { activated: 0, refused: 0, failed: 0, forks: 0, quarantined: 0 };
  readonly #parts: ReducerParts;
  readonly #logger: pino.Logger;
  #mark: HighWaterMark | undefined;
  #accessMark: HighWaterMark | undefined;
  #active: HighWaterMark | undefined;
  #quarantine: Quarantine[];
  /** Hash of each definition in force by `kind NUL key`. */
  #index = new Map<string, string>();
  #blockIds: ReadonlySet<string> = new Set();
  /** What served before, kept until the next activation: the way back from a revision that traps. */
  #previous: ActiveSnapshot | undefined;
  /** After that way back was taken, the store no longer matches what serves: only a whole configuration leads on. */
  #needsWhole = false;
  #strikes: { readonly digest: string; readonly count: number } | undefined;

  constructor(slot: EnvironmentSlot, parts: ReducerParts) {
    this.environment = slot.environment;
    this.slot = slot;
    this.#parts = parts;
    this.#logger = parts.logger.child({ environment: slot.environment });
    this.#mark = parts.store.findMark(slot.environment, 'config');
    this.#accessMark = parts.store.findMark(slot.environment, 'access');
    this.#quarantine = parts.store.listQuarantine(slot.environment);
  }

  /** Where this node stands, for the digest poll. */
  get standing(): { readonly epoch: number; readonly revision: number; readonly accessSequence: number } {
    const config = this.#active ?? { epoch: 0, revision: 0 };
    return { epoch: config.epoch, revision: config.revision, accessSequence: this.#accessMark?.revision ?? 0 };
  }

  get quarantine(): readonly Quarantine[] {
    return this.#quarantine;
  }

  /** True when it is known already that this revision will not serve: there is no use in fetching it again. */
  isQuarantined(state: { readonly epoch: number; readonly revision: number }): boolean {
    return this.#quarantine.some((quarantine) => compareOrder(quarantine, state) === 0);
  }

  /** Brings back what this node served before it ended, from its own disk alone. False: the control plane has to be asked. */
  async restore(): Promise<boolean> {
    const { store } = this.#parts;
    this.#restoreAccess();
    const state = store.findState(this.environment);
    if (state === undefined) return false;
    try {
      const manifest = this.#parts.keys().verifyManifest(this.environment, state.signed);
      if (this.#mark !== undefined && compareOrder(manifest, this.#mark) < 0) {
        throw new PlatformError('revision-behind', 'the stored revision is older than the high-water mark');
      }
      const tree = new DigestTree();
      for (const [kind, key, hash] of store.listEntries(this.environment)) {
        tree.set(kind, key, Buffer.from(hash, 'hex'));
        this.#index.set(`${kind}\0${key}`, hash);
      }
      if (tree.digest() !== manifest.digest) throw new PlatformError('validation-failed', 'the stored digest is wrong');
      this.#blockIds = new Set(store.listBlockIds(this.environment));
      const resident = await this.#loadStored(manifest, state.root);
      if (resident !== undefined) {
        this.#swap(manifest, resident);
        return true;
      }
      return await this.#recompile(manifest, state.signed);
    } catch (error) {
      this.#logger.error({ err: error }, 'the stored revision cannot be used; asking the control plane');
      this.#index.clear();
      this.#blockIds = new Set();
      return false;
    }
  }

  /** Config from any source. Never throws for what a message holds. */
  async receive(message: ConfigMessage): Promise<Outcome> {
    let manifest: Manifest;
    try {
      manifest = this.#parts.keys().verifyManifest(this.environment, message.signed);
    } catch (error) {
      return this.#refuse(error, 'config is not to be trusted');
    }
    const decision = decideConfig(
      manifest,
      { previousRevision: message.previousRevision, hasDelta: message.delta !== undefined },
      { mark: this.#mark, active: this.#active, quarantine: this.#quarantine, nowMs: this.#parts.now() },
    );
    switch (decision.action) {
      case 'ignore':
        return 'ignored';
      case 'fetch':
        return 'fetch';
      case 'refuse':
        if (decision.reason === 'fork') this.counters.forks += 1;
        return this.#refuse(new PlatformError('conflict', decision.reason), 'config breaks the revision rules');
      case 'apply':
        return this.#apply(manifest, message, decision.base);
    }
  }

  /** An access list from any source. */
  async receiveAccess(signed: Signed): Promise<Outcome> {
    try {
      const accessList = this.#parts.keys().verifyAccessList(this.environment, signed);
      const mark = { epoch: accessList.epoch, revision: accessList.sequence, digest: '' };
      const order = this.#accessMark === undefined ? 1 : compareOrder(mark, this.#accessMark);
      if (order < 0 || (order === 0 && this.slot.accessList !== undefined)) return 'ignored';
      await this.#parts.store.putAccess(this.environment, signed, mark);
      this.#accessMark = mark;
      this.#parts.directory.replace(this.slot, accessList);
      return 'activated';
    } catch (error) {
      return this.#refuse(error, 'an access list is not to be trusted');
    }
  }

  /** A request made the kernel trap on the active snapshot. The third time the snapshot before it serves again. */
  async reportTrap(): Promise<void> {
    this.slot.trapCount += 1;
    const active = this.#active;
    if (active === undefined || this.slot.trapCount < TRAPS_MAX || this.#previous === undefined) return;
    const snapshot = this.#previous;
    const poisonous = this.slot.active;
    this.#previous = undefined;
    this.#needsWhole = true;
    this.slot.trapCount = 0;
    this.#active = { epoch: snapshot.epoch, revision: snapshot.revision, digest: snapshot.digest };
    this.slot.activate(snapshot);
    if (poisonous !== undefined) this.#parts.kernel.release(poisonous.resident);
    await this.#putQuarantine(active, `${TRAPS_MAX} traps`);
  }

  /** Everything that explains need of the definitions in force. */
  definitionsInForce(): Uint8Array[] | undefined {
    return this.#parts.store.findDefinitions(this.environment, this.#index.values());
  }

  /** Stops serving: the environment is gone. */
  async remove(): Promise<void> {
    this.#parts.directory.remove(this.slot);
    const { active } = this.slot;
    this.slot.active = undefined;
    if (active !== undefined) this.#parts.kernel.release(active.resident);
    if (this.#previous !== undefined) this.#parts.kernel.release(this.#previous.resident);
    this.#previous = undefined;
    await this.#parts.store.removeEnvironment(this.environment);
  }

  #restoreAccess(): void {
    const signed = this.#parts.store.findAccess(this.environment);
    if (signed === undefined) return;
    try {
      const accessList = this.#parts.keys().verifyAccessList(this.environment, signed);
      const mark = { epoch: accessList.epoch, revision: accessList.sequence };
      if (this.#accessMark !== undefined && compareOrder(mark, this.#accessMark) < 0) {
        throw new PlatformError('revision-behind', 'the stored access list is older than the high-water mark');
      }
      this.#parts.directory.replace(this.slot, accessList);
    } catch (error) {
      this.#logger.error({ err: error }, 'the stored access list cannot be used');
    }
  }

  /** Undefined when it is damaged or was made by another version of the compiler. */
  async #loadStored(manifest: Manifest, root: Uint8Array | undefined): Promise<ResidentSnapshot | undefined> {
    if (root === undefined) return undefined;
    try {
      return await this.#load(manifest, root, new StoredBlocks(this.#parts.store, this.environment, this.#blockIds));
    } catch (error) {
      this.#logger.warn({ err: error }, 'the stored snapshot cannot be loaded; compiling it again');
      return undefined;
    }
  }

  /** After a change of the kernel, or when blocks are damaged: the definitions are the record, blocks are made again. */
  async #recompile(manifest: Manifest, signed: Signed): Promise<boolean> {
    const definitions = this.definitionsInForce();
    if (definitions === undefined) return false;
    const answer = await this.#parts.pool.compile({
      environment: this.environment,
      revision: manifest.revision,
      changed: definitions,
      removed: [],
      expectedDigest: manifest.digest,
    });
    if (answer.status !== 'compiled') return false;
    await this.#bringIntoForce(manifest, signed, answer, { changed: [], removed: [], isWhole: true });
    return true;
  }

  async #apply(manifest: Manifest, message: ConfigMessage, base: 'active' | 'nothing'): Promise<Outcome> {
    const { changed, removed } = message.delta ?? { changed: [], removed: [] };
    const isWhole = base === 'nothing';
    if (this.#needsWhole && !isWhole) return 'fetch-whole';
    try {
      const answer = await this.#compile(manifest, changed, removed, isWhole);
      switch (answer?.status) {
        case undefined:
          return 'fetch-whole';
        case 'digest-mismatch':
          if (!isWhole) return 'fetch-whole';
          return this.#refuse(
            new PlatformError('conflict', 'the digest is not that of the manifest'),
            'config is damaged',
          );
        case 'refused':
          this.#logger.error({ issues: answer.issues.slice(0, 20) }, 'a revision does not compile');
          await this.#putQuarantine(manifest, answer.issues[0]?.detail ?? 'it does not compile');
          return 'refused';
        case 'compiled':
          await this.#bringIntoForce(manifest, message.signed, answer, { changed, removed, isWhole });
          return 'activated';
      }
    } catch (error) {
      return this.#strike(manifest, error);
    }
  }

  /** Undefined when the node lacks definitions that the worker would need. */
  async #compile(
    manifest: Manifest,
    changed: readonly Uint8Array[],
    removed: readonly (readonly [string, string])[],
    isWhole: boolean,
  ): Promise<Exclude<Awaited<ReturnType<CompilePool['compile']>>, { status: 'needs-all' }> | undefined> {
    const { pool } = this.#parts;
    const request = {
      environment: this.environment,
      revision: manifest.revision,
      expectedDigest: manifest.digest,
    };
    if (!isWhole && this.#active !== undefined) {
      const answer = await pool.compile({ ...request, base: this.#active.digest, changed, removed });
      if (answer.status !== 'needs-all') return answer;
    }
    const kept = isWhole ? [] : this.#keptDefinitions(removed);
    if (kept === undefined) return undefined;
    const answer = await pool.compile({ ...request, changed: [...kept, ...changed], removed: [] });
    if (answer.status === 'needs-all') throw new PlatformError('internal', 'a worker asked for more than everything');
    // The caller's change comes last: only its entries are new to the store.
    return answer.status === 'compiled' ? { ...answer, entries: answer.entries.slice(kept.length) } : answer;
  }

  #keptDefinitions(removed: readonly (readonly [string, string])[]): Uint8Array[] | undefined {
    const index = new Map(this.#index);
    for (const [kind, key] of removed) index.delete(`${kind}\0${key}`);
    return this.#parts.store.findDefinitions(this.environment, index.values());
  }

  async #bringIntoForce(
    manifest: Manifest,
    signed: Signed,
    answer: CompiledAnswer,
    change: {
      readonly changed: readonly Uint8Array[];
      readonly removed: readonly (readonly [string, string])[];
      readonly isWhole: boolean;
    },
  ): Promise<void> {
    const { store } = this.#parts;
    const { blockIds, newBlocks, droppedBlockIds } = this.#blocksAfter(answer);
    const index = new Map(change.isWhole ? [] : this.#index);
    for (const [kind, key] of change.removed) index.delete(`${kind}\0${key}`);
    for (const [kind, key, hash] of answer.entries) index.set(`${kind}\0${key}`, hash);
    const inForce = new Set(index.values());
    const blocks = new StoredBlocks(store, this.environment, blockIds, newBlocks);
    const resident = await this.#load(manifest, answer.root, blocks);
    const mark = { epoch: manifest.epoch, revision: manifest.revision, digest: manifest.digest };
    await store.putRevision(this.environment, {
      mark,
      signed,
      root: answer.root,
      newBlocks,
      droppedBlockIds,
      definitions: change.changed.flatMap((bytes, position) => {
        const entry = answer.entries[position];
        return entry === undefined ? [] : [{ entry, bytes }];
      }),
      removed: [...this.#index.keys()].filter((name) => !index.has(name)).map(nameOf),
      droppedHashes: [...this.#index.values()].filter((hash) => !inForce.has(hash)),
    });
    this.#index = index;
    this.#blockIds = blockIds;
    this.#needsWhole = false;
    this.#swap(manifest, resident);
  }

  /** A full answer holds every block; the store wants to know what changes against what it has. */
  #blocksAfter(answer: CompiledAnswer): {
    blockIds: ReadonlySet<string>;
    newBlocks: ReadonlyMap<string, Uint8Array>;
    droppedBlockIds: readonly string[];
  } {
    const isFull = answer.isFull;
    const blockIds = new Set(isFull ? answer.newBlocks.keys() : this.#blockIds);
    if (isFull) {
      const droppedBlockIds = [...this.#blockIds].filter((id) => !blockIds.has(id));
      return { blockIds, newBlocks: answer.newBlocks, droppedBlockIds };
    }
    for (const id of answer.droppedBlockIds) blockIds.delete(id);
    for (const id of answer.newBlocks.keys()) blockIds.add(id);
    return { blockIds, newBlocks: answer.newBlocks, droppedBlockIds: answer.droppedBlockIds };
  }

  #load({ revision }: Manifest, root: Uint8Array, blocks: StoredBlocks): Promise<ResidentSnapshot> {
    return this.#parts.kernel.load({ environment: this.environment, revision, root, blocks });
  }

  /** Synchronous: no request sees a half of it. */
  #swap(manifest: Manifest, resident: ResidentSnapshot): void {
    const { epoch, revision, digest } = manifest;
    const before = this.slot.active;
    if (this.#previous !== undefined) this.#parts.kernel.release(this.#previous.resident);
    this.#previous = before;
    this.#mark = { epoch, revision, digest };
    this.#active = this.#mark;
    this.#strikes = undefined;
    this.slot.trapCount = 0;
    this.counters.activated += 1;
    this.slot.activate({ environment: this.environment, epoch, revision, digest, resident });
    this.#logger.info({ epoch, revision }, 'revision active');
  }

  #refuse(error: unknown, what: string): Outcome {
    if (!(error instanceof PlatformError)) throw error;
    this.counters.refused += 1;
    this.#logger.error({ reason: error.message, code: error.code }, what);
    return 'refused';
  }

  /** An operating failure: tried again, unless the same definitions keep killing the worker (I10). */
  async #strike(manifest: Manifest, error: unknown): Promise<Outcome> {
    this.counters.failed += 1;
    this.#logger.error({ err: error, revision: manifest.revision }, 'a revision could not be activated');
    const isOverload = error instanceof PlatformError && error.code === 'overloaded';
    if (isOverload) return 'failed';
    const count = this.#strikes?.digest === manifest.digest ? this.#strikes.count + 1 : 1;
    this.#strikes = { digest: manifest.digest, count };
    if (count < STRIKES_MAX) return 'failed';
    await this.#putQuarantine(manifest, error instanceof Error ? error.message : String(error));
    return 'refused';
  }

  async #putQuarantine({ epoch, revision, digest }: HighWaterMark, reason: string): Promise<void> {
    const quarantine = { epoch, revision, digest, reason: reason.slice(0, 500) };
    this.counters.quarantined += 1;
    this.#quarantine = [...this.#quarantine.slice(1 - QUARANTINE_COUNT_MAX), quarantine];
    this.#logger.error({ quarantine }, 'revision quarantined; the last good one serves');
    await this.#parts.store.putQuarantine(this.environment, quarantine);
  }
}

/** Remembered per environment; the oldest are forgotten, their revisions are long past. */
const QUARANTINE_COUNT_MAX = 100;

function nameOf(name: string): readonly [string, string] {
  const separator = name.indexOf('\0');
  return [name.slice(0, separator), name.slice(separator + 1)];
}
