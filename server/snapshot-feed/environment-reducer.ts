import type { ResidentSnapshot } from '@guidon/engine';
import type { CompilePool } from '@guidon/pool';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { AccessList, ConfigMessage, Manifest, Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { AccessDirectory } from '../auth/access-directory.js';
import type { ActiveSnapshot, EnvironmentSlot } from '../environment-slot.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { HighWaterMark, PersistedState, Quarantine, SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { StoredBlocks } from '../snapshot-store/stored-blocks.js';
import { compareOrder, decideConfig, isFastForward } from './config-decision.js';
import { QuarantineList } from './quarantine-list.js';
import { type LedgerChange, RevisionLedger } from './revision-ledger.js';

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

/** I20 and the threat model: so many traps of one revision, and the one before serves again. */
const TRAPS_MAX = 3;
/** How often a reader starts again because the writer was faster. */
const FOLLOW_COUNT_MAX = 5;

/** What serves of one environment, as the disk has it. */
interface StoredEnvironment {
  readonly state: PersistedState | undefined;
  readonly access: Signed | undefined;
}

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
  readonly #quarantine: QuarantineList;
  readonly #ledger: RevisionLedger;
  /** What served before, kept until a later one has proved itself: the way back from a revision that traps. */
  #previous: ActiveSnapshot | undefined;
  /** Signatures of what was read last, where another process writes: the same ones bring nothing new. */
  #followed: { readonly config: Uint8Array | undefined; readonly access: Uint8Array | undefined } | undefined;

  constructor(slot: EnvironmentSlot, parts: ReducerParts) {
    this.environment = slot.environment;
    this.slot = slot;
    this.#parts = parts;
    this.#logger = parts.logger.child({ environment: slot.environment });
    this.#readMarks();
    this.#quarantine = new QuarantineList(parts.store, slot.environment);
    this.#ledger = new RevisionLedger(parts.store, slot.environment);
  }

  /** Where this node stands, for the digest poll. */
  get standing(): { readonly epoch: number; readonly revision: number; readonly accessSequence: number } {
    const config = this.#active ?? { epoch: 0, revision: 0 };
    return { epoch: config.epoch, revision: config.revision, accessSequence: this.#accessMark?.revision ?? 0 };
  }

  get quarantine(): readonly Quarantine[] {
    return this.#quarantine.entries;
  }

  /** True when it is known already that this revision will not serve: there is no use in fetching it again. */
  isQuarantined(state: { readonly epoch: number; readonly revision: number }): boolean {
    return this.#quarantine.has(state);
  }

  /**
   * Brings back what this node served before it ended, from its own disk alone; where that is in quarantine, the last good revision before
   * it (I10). False: there is nothing good here, the control plane has to be asked.
   */
  async restore(): Promise<boolean> {
    this.#restoreAccess();
    return this.#restoreConfig();
  }

  /**
   * Brings into force what another process of this node has written, and writes nothing. It is checked as it is at a start; that the
   * definitions are those of the manifest was checked by the process that wrote them, and again by the worker that explains.
   */
  async follow(): Promise<Outcome> {
    for (let attempt = 1; ; attempt += 1) {
      const stored = this.#readStored();
      if (this.#hasFollowed(stored)) return 'ignored';
      try {
        const isNewAccess = this.#followAccess(stored.access);
        const isNewConfig = await this.#followConfig(stored.state);
        this.#followed = signaturesOf(stored);
        return isNewAccess || isNewConfig ? 'activated' : 'ignored';
      } catch (error) {
        // Blocks are removed two revisions later: whoever was slower than that starts again with what is there now.
        if (attempt === FOLLOW_COUNT_MAX || this.#isStored(stored)) throw error;
      }
    }
  }

  #readStored(): StoredEnvironment {
    const { store } = this.#parts;
    return store.readTogether(() => {
      this.#readMarks();
      this.#quarantine.read();
      return { state: store.findState(this.environment), access: store.findAccess(this.environment) };
    });
  }

  /** Marks never fall, whatever the disk says (I7). */
  #readMarks(): void {
    const { store } = this.#parts;
    this.#mark = newest(this.#mark, store.findMark(this.environment, 'config'));
    this.#accessMark = newest(this.#accessMark, store.findMark(this.environment, 'access'));
  }

  #hasFollowed(stored: StoredEnvironment): boolean {
    const { config, access } = signaturesOf(stored);
    const { config: lastConfig, access: lastAccess } = this.#followed ?? { config: undefined, access: undefined };
    return this.#followed !== undefined && isSameBytes(config, lastConfig) && isSameBytes(access, lastAccess);
  }

  #isStored({ state }: StoredEnvironment): boolean {
    const now = this.#parts.store.readTogether(() => this.#parts.store.findState(this.environment));
    return isSameBytes(now?.signed.signature, state?.signed.signature);
  }

  #followAccess(signed: Signed | undefined): boolean {
    if (signed === undefined || isSameBytes(signed.signature, this.#followed?.access)) return false;
    const { keys, directory } = this.#parts;
    directory.replace(this.slot, this.#verifyStoredAccess(signed, keys()));
    return true;
  }

  async #followConfig(state: PersistedState | undefined): Promise<boolean> {
    if (state === undefined || isSameBytes(state.signed.signature, this.#followed?.config)) return false;
    const manifest = this.#parts.keys().verifyManifest(this.environment, state.signed);
    // In quarantine: whoever writes is about to put the last good one back.
    if (this.#quarantine.has(manifest)) return false;
    const active = this.#active;
    const order = active === undefined ? 1 : compareOrder(manifest, active);
    if (order === 0 && manifest.digest === active?.digest) return false;
    if (order === 0) throw new PlatformError('conflict', 'the stored revision is another one of the same number');
    this.#assertNotOlder(manifest);
    if (state.root === undefined) throw new PlatformError('validation-failed', 'the stored root is damaged');
    this.#ledger.forget();
    const resident = await this.#load(manifest, state.root, this.#ledger.blocks());
    if (order < 0) this.#releasePrevious();
    this.#swap(manifest, resident, order < 0);
    return true;
  }

  #releasePrevious(): void {
    if (this.#previous !== undefined) this.#parts.kernel.release(this.#previous.resident);
    this.#previous = undefined;
  }

  /** Only a quarantine takes this node below what it has served (I7). */
  #assertNotOlder(manifest: Manifest): void {
    if (this.#mark === undefined || compareOrder(manifest, this.#mark) >= 0) return;
    if (this.#quarantine.wasRefused(this.#mark)) return;
    throw new PlatformError('revision-behind', 'the stored revision is older than the high-water mark');
  }

  async #restoreConfig(): Promise<boolean> {
    const { store } = this.#parts;
    try {
      this.#ledger.read();
      const state = store.findState(this.environment);
      if (state === undefined) return false;
      const manifest = this.#parts.keys().verifyManifest(this.environment, state.signed);
      if (this.#quarantine.has(manifest)) return (await this.#ledger.rollBack()) && (await this.#restoreConfig());
      this.#assertNotOlder(manifest);
      this.#ledger.assertDigest(manifest);
      const resident = await this.#loadStored(manifest, state.root);
      if (resident === undefined) return await this.#recompile(manifest, state.signed);
      this.#swap(manifest, resident);
      return true;
    } catch (error) {
      this.#logger.error({ err: error }, 'the stored revision cannot be used; asking the control plane');
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
      { mark: this.#mark, active: this.#active, quarantine: this.quarantine, nowMs: this.#parts.now() },
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
      if (isFastForward(mark, this.#accessMark)) throw new PlatformError('conflict', 'fast-forward');
      await this.#parts.store.putAccess(this.environment, signed, mark);
      this.#accessMark = mark;
      this.#parts.directory.replace(this.slot, accessList);
      return 'activated';
    } catch (error) {
      return this.#refuse(error, 'an access list is not to be trusted');
    }
  }

  /**
   * A request made the kernel trap on the active snapshot. The third time it is quarantined and the last good one serves again; where there
   * is none, nothing does, until a newer revision comes.
   */
  async reportTrap(): Promise<void> {
    this.slot.trapCount += 1;
    const active = this.#active;
    if (active === undefined || this.slot.trapCount < TRAPS_MAX) return;
    const poisonous = this.slot.active;
    const previous = this.#previous;
    this.#previous = undefined;
    this.slot.trapCount = 0;
    this.#active = previous;
    if (previous === undefined) this.slot.active = undefined;
    else this.slot.activate(previous);
    if (poisonous !== undefined) this.#parts.kernel.release(poisonous.resident);
    await this.#putQuarantine(active, `${TRAPS_MAX} traps`);
    // The disk goes back too: it holds what serves, for the next delta, for explaining and for a restart.
    const isRolledBack = await this.#ledger.rollBack();
    if (previous === undefined && isRolledBack) await this.#restoreConfig();
  }

  /** Everything that explaining needs of the definitions in force. */
  definitionsInForce(): Uint8Array[] | undefined {
    return this.#active === undefined ? undefined : this.#ledger.definitions();
  }

  /** Stops serving: the environment is gone. */
  stop(): void {
    this.#parts.directory.remove(this.slot);
    const { active } = this.slot;
    this.slot.active = undefined;
    if (active !== undefined) this.#parts.kernel.release(active.resident);
    this.#releasePrevious();
  }

  /** Stops serving and removes it from the disk. */
  async remove(): Promise<void> {
    this.stop();
    await this.#parts.store.removeEnvironment(this.environment);
  }

  #restoreAccess(): void {
    const signed = this.#parts.store.findAccess(this.environment);
    if (signed === undefined) return;
    try {
      this.#parts.directory.replace(this.slot, this.#verifyStoredAccess(signed, this.#parts.keys()));
    } catch (error) {
      this.#logger.error({ err: error }, 'the stored access list cannot be used');
    }
  }

  #verifyStoredAccess(signed: Signed, keys: TrustedKeys): AccessList {
    const accessList = keys.verifyAccessList(this.environment, signed);
    const mark = { epoch: accessList.epoch, revision: accessList.sequence };
    if (this.#accessMark !== undefined && compareOrder(mark, this.#accessMark) < 0) {
      throw new PlatformError('revision-behind', 'the stored access list is older than the high-water mark');
    }
    return accessList;
  }

  /** Undefined when it is damaged or was made by another version of the compiler. */
  async #loadStored(manifest: Manifest, root: Uint8Array | undefined): Promise<ResidentSnapshot | undefined> {
    if (root === undefined) return undefined;
    try {
      return await this.#load(manifest, root, this.#ledger.blocks());
    } catch (error) {
      this.#logger.warn({ err: error }, 'the stored snapshot cannot be loaded; compiling it again');
      return undefined;
    }
  }

  /** After a change of the kernel, or when blocks are damaged: the definitions are the record, blocks are made again. */
  async #recompile(manifest: Manifest, signed: Signed): Promise<boolean> {
    const definitions = this.#ledger.definitions();
    if (definitions === undefined) return false;
    const answer = await this.#parts.pool.compile({
      environment: this.environment,
      revision: manifest.revision,
      changed: definitions,
      removed: [],
      expectedDigest: manifest.digest,
    });
    if (answer.status !== 'compiled') return false;
    await this.#bringIntoForce({
      manifest,
      signed,
      answer,
      changed: [],
      removed: [],
      isWhole: true,
      fallback: this.#ledger.hasFallback ? 'kept' : 'none',
    });
    return true;
  }

  async #apply(manifest: Manifest, message: ConfigMessage, base: 'active' | 'nothing'): Promise<Outcome> {
    const { changed, removed } = message.delta ?? { changed: [], removed: [] };
    const isWhole = base === 'nothing';
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
          await this.#bringIntoForce({
            manifest,
            signed: message.signed,
            answer,
            changed,
            removed,
            isWhole,
            fallback: this.#nextFallback(),
          });
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
    const kept = isWhole ? [] : this.#ledger.definitions(removed);
    if (kept === undefined) return undefined;
    const answer = await pool.compile({ ...request, changed: [...kept, ...changed], removed: [] });
    if (answer.status === 'needs-all') throw new PlatformError('internal', 'a worker asked for more than everything');
    // The caller's change comes last: only its entries are new to the store.
    return answer.status === 'compiled' ? { ...answer, entries: answer.entries.slice(kept.length) } : answer;
  }

  /** A revision that has trapped is no way back: the good one before it stays that. */
  #nextFallback(): LedgerChange['fallback'] {
    if (this.#active === undefined) return 'none';
    return this.slot.trapCount > 0 && this.#ledger.hasFallback ? 'kept' : 'stored';
  }

  async #bringIntoForce(change: Omit<LedgerChange, 'mark'>): Promise<void> {
    const { manifest, answer } = change;
    const resident = await this.#load(manifest, answer.root, this.#ledger.blocks(answer));
    await this.#ledger.put({ ...change, mark: this.#markAfter(manifest) });
    this.#swap(manifest, resident, change.fallback === 'kept');
  }

  /** Never falls: a revision that is restored after a quarantine is older than the mark (I7). */
  #markAfter({ epoch, revision, digest }: Manifest): HighWaterMark {
    const next = { epoch, revision, digest };
    return this.#mark !== undefined && compareOrder(next, this.#mark) < 0 ? this.#mark : next;
  }

  #load({ revision }: Manifest, root: Uint8Array, blocks: StoredBlocks): Promise<ResidentSnapshot> {
    return this.#parts.kernel.load({ environment: this.environment, revision, root, blocks });
  }

  /** Synchronous: no request sees a half of it. `keepsPrevious`: what serves now has trapped, the way back stays the one before it. */
  #swap(manifest: Manifest, resident: ResidentSnapshot, keepsPrevious = false): void {
    const { epoch, revision, digest } = manifest;
    const before = this.slot.active;
    const released = keepsPrevious ? before : this.#previous;
    if (released !== undefined) this.#parts.kernel.release(released.resident);
    if (!keepsPrevious) this.#previous = before;
    this.#mark = this.#markAfter(manifest);
    this.#active = { epoch, revision, digest };
    this.#quarantine.clearStrikes();
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

  /** A failure on the way: tried again with backoff, unless the definitions are to blame for it time and again (I10). */
  async #strike(manifest: Manifest, error: unknown): Promise<Outcome> {
    this.counters.failed += 1;
    this.#logger.error({ err: error, revision: manifest.revision }, 'a revision could not be activated');
    if (!this.#quarantine.strike(manifest, error)) return 'failed';
    await this.#putQuarantine(manifest, error instanceof Error ? error.message : String(error));
    return 'refused';
  }

  async #putQuarantine(revision: HighWaterMark, reason: string): Promise<void> {
    this.counters.quarantined += 1;
    const quarantine = await this.#quarantine.put(revision, reason);
    this.#logger.error({ quarantine }, 'revision quarantined; the last good one serves');
  }
}

function signaturesOf({ state, access }: StoredEnvironment): {
  config: Uint8Array | undefined;
  access: Uint8Array | undefined;
} {
  return { config: state?.signed.signature, access: access?.signature };
}

function isSameBytes(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === undefined || b === undefined ? a === b : Buffer.compare(a, b) === 0;
}

function newest(a: HighWaterMark | undefined, b: HighWaterMark | undefined): HighWaterMark | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareOrder(a, b) < 0 ? b : a;
}
