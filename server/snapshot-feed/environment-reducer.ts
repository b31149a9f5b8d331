import type { ResidentSnapshot } from '@guidon/engine';
import type { CompilePool } from '@guidon/pool';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { AccessList, ConfigMessage, Manifest, Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { AccessDirectory } from '../auth/access-directory.js';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';
import type { HighWaterMark, PersistedState, Quarantine, SnapshotStore } from '../snapshot-store/snapshot-store.js';
import type { StoredBlocks } from '../snapshot-store/stored-blocks.js';
import { compareOrder, decideConfig, isFastForward } from './config-decision.js';
import { QuarantineList } from './quarantine-list.js';
import { type LedgerChange, RevisionLedger } from './revision-ledger.js';
import { ServedSnapshots } from './served-snapshots.js';
import { isSameBytes, type Signatures, type StoredEnvironment, signaturesOf } from './stored-environment.js';

export interface ReducerParts {
  readonly store: SnapshotStore;
  readonly pool: CompilePool;
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
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

/**
 * The only way config and access lists come into force for one environment, whatever source they came from (I7, I9, I10).
 *
 *   message -> signature, environment -> revision rules (decideConfig) -> worker: apply, digest, compile, verify, smoke evaluation
 *     -> kernel memory -> disk, with the high-water mark -> pointer swap -> release of what served before the last
 *
 * The revision of a cold environment goes to the disk alone; reload() takes it from there when a request asks for it.
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
  readonly #quarantine: QuarantineList;
  readonly #ledger: RevisionLedger;
  readonly #served: ServedSnapshots;
  /** Signatures of what was read last, where another process writes: the same ones bring nothing new. */
  #followed: Signatures | undefined;

  constructor(slot: EnvironmentSlot, parts: ReducerParts) {
    this.environment = slot.environment;
    this.slot = slot;
    this.#parts = parts;
    this.#logger = parts.logger.child({ environment: slot.environment });
    this.#readMarks();
    this.#quarantine = new QuarantineList(parts.store, slot.environment);
    this.#ledger = new RevisionLedger(parts.store, slot.environment);
    const { kernel, residency } = parts;
    this.#served = new ServedSnapshots(slot, { kernel, residency, onEvict: () => this.#ledger.forget() });
  }

  /** Where this node stands, for the digest poll. */
  get standing(): { readonly epoch: number; readonly revision: number; readonly accessSequence: number } {
    const config = this.#served.serving ?? { epoch: 0, revision: 0 };
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
   * it (I10). Without room for it in kernel memory the snapshot stays on the disk until somebody asks, and is verified then. False: there
   * is nothing good here, the control plane has to be asked.
   */
  async restore(): Promise<boolean> {
    this.#restoreAccess();
    return (!this.#parts.residency.hasRoom && this.#restoreCold()) || this.#restoreConfig();
  }

  /** False: the disk holds something else than the last revision that was activated. */
  #restoreCold(): boolean {
    const mark = this.#mark;
    if (mark === undefined || this.#quarantine.wasRefused(mark)) return false;
    if (!this.#parts.store.hasState(this.environment)) return false;
    this.#served.swapCold(mark);
    return true;
  }

  /**
   * Makes the revision that serves resident, from the node's own disk, verified as at a start. It does not wait for its turn among the
   * messages, which may be waiting for the control plane. False: the disk does not have it, so restoreServing() has to see what there is.
   */
  reload(): Promise<boolean> {
    return this.#served.reload((serving) => this.#loadServing(serving));
  }

  async #loadServing(serving: HighWaterMark): Promise<ResidentSnapshot | undefined> {
    const { store, keys } = this.#parts;
    try {
      const state = store.readTogether(() => store.findState(this.environment));
      if (state?.root === undefined) return undefined;
      const manifest = keys().verifyManifest(this.environment, state.signed);
      if (compareOrder(manifest, serving) !== 0 || manifest.digest !== serving.digest) return undefined;
      return await this.#load(manifest, state.root, this.#ledger.blocks());
    } catch (error) {
      this.#logger.warn({ err: error }, 'the stored snapshot cannot be loaded');
      return undefined;
    }
  }

  /**
   * After reload() failed, in turn with the messages: the disk's way back, else the control plane is asked for everything. Where another process
   * writes, what it has written meanwhile.
   */
  async restoreServing(): Promise<Outcome> {
    if (this.#served.serving === undefined || this.#served.isResident) return 'ignored';
    if (this.#parts.store.isReader) {
      await this.follow();
      return this.#served.isResident || (await this.reload()) ? 'ignored' : 'failed';
    }
    if (await this.#restoreConfig()) return 'ignored';
    this.#served.clear();
    return 'failed';
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
    this.#acceptAccess(this.#verifyStoredAccess(signed, this.#parts.keys()));
    return true;
  }

  async #followConfig(state: PersistedState | undefined): Promise<boolean> {
    if (state === undefined || isSameBytes(state.signed.signature, this.#followed?.config)) return false;
    const manifest = this.#parts.keys().verifyManifest(this.environment, state.signed);
    // In quarantine: whoever writes is about to put the last good one back.
    if (this.#quarantine.has(manifest)) return false;
    const active = this.#served.serving;
    const order = active === undefined ? 1 : compareOrder(manifest, active);
    if (order === 0 && manifest.digest === active?.digest) return false;
    if (order === 0) throw new PlatformError('conflict', 'the stored revision is another one of the same number');
    this.#assertNotOlder(manifest);
    if (state.root === undefined) throw new PlatformError('validation-failed', 'the stored root is damaged');
    this.#ledger.forget();
    if (this.#served.staysCold) {
      this.#served.swapCold(this.#accept(manifest));
      return true;
    }
    const resident = await this.#load(manifest, state.root, this.#ledger.blocks());
    if (order < 0) this.#served.releasePrevious();
    this.#served.swap(this.#accept(manifest), resident, order < 0);
    return true;
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
      this.#ledger.forget();
      const state = store.findState(this.environment);
      if (state === undefined) return false;
      const manifest = this.#parts.keys().verifyManifest(this.environment, state.signed);
      if (this.#quarantine.has(manifest)) return (await this.#ledger.rollBack()) && (await this.#restoreConfig());
      this.#assertNotOlder(manifest);
      this.#ledger.assertDigest(manifest);
      const resident = await this.#loadStored(manifest, state.root);
      if (resident === undefined) return await this.#recompile(manifest, state.signed);
      this.#served.swap(this.#accept(manifest), resident);
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
      { mark: this.#mark, active: this.#served.serving, quarantine: this.quarantine, nowMs: this.#parts.now() },
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
      this.#acceptAccess(accessList);
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
    const { serving } = this.#served;
    if (serving === undefined || this.slot.trapCount < TRAPS_MAX) return;
    this.slot.trapCount = 0;
    const outcome = this.#served.stepBack();
    await this.#putQuarantine(serving, `${TRAPS_MAX} traps`);
    // The disk goes back too: it holds what serves, for the next delta, for explaining and for a restart.
    const isRolledBack = await this.#ledger.rollBack();
    if (outcome === 'nothing-serves' && isRolledBack) await this.#restoreConfig();
  }

  /** Everything that explaining needs of the definitions in force. */
  definitionsInForce(): Uint8Array[] | undefined {
    return this.#served.serving === undefined ? undefined : this.#ledger.definitions();
  }

  /** Hash of each definition on the disk, by `kind NUL key`: of the revision that serves, except while the disk goes back after a quarantine. */
  indexInForce(): ReadonlyMap<string, string> {
    return this.#ledger.index;
  }

  /** Stops serving: the environment is gone. */
  stop(): void {
    this.#parts.directory.remove(this.slot);
    this.#served.clear();
  }

  /** Stops serving and removes it from the disk. */
  async remove(): Promise<void> {
    this.stop();
    await this.#parts.store.removeEnvironment(this.environment);
  }

  /** From here on this list says who may ask, and what the tenant may use. */
  #acceptAccess(accessList: AccessList): void {
    const { directory, residency } = this.#parts;
    directory.replace(this.slot, accessList);
    residency.keepTenantWithin(this.slot);
  }

  #restoreAccess(): void {
    const signed = this.#parts.store.findAccess(this.environment);
    if (signed === undefined) return;
    try {
      this.#acceptAccess(this.#verifyStoredAccess(signed, this.#parts.keys()));
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
    const { serving } = this.#served;
    if (!isWhole && serving !== undefined) {
      const answer = await pool.compile({ ...request, base: serving.digest, changed, removed });
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
    if (this.#served.serving === undefined) return 'none';
    return this.slot.trapCount > 0 && this.#ledger.hasFallback ? 'kept' : 'stored';
  }

  async #bringIntoForce(change: Omit<LedgerChange, 'mark'>): Promise<void> {
    const { manifest, answer } = change;
    if (this.#served.staysCold) {
      await this.#ledger.put({ ...change, mark: this.#markAfter(manifest) });
      this.#served.swapCold(this.#accept(manifest));
      return;
    }
    const resident = await this.#load(manifest, answer.root, this.#ledger.blocks(answer));
    await this.#ledger.put({ ...change, mark: this.#markAfter(manifest) });
    this.#served.swap(this.#accept(manifest), resident, change.fallback === 'kept');
  }

  /** Never falls: a revision that is restored after a quarantine is older than the mark (I7). */
  #markAfter({ epoch, revision, digest }: Manifest): HighWaterMark {
    const next = { epoch, revision, digest };
    return this.#mark !== undefined && compareOrder(next, this.#mark) < 0 ? this.#mark : next;
  }

  #load({ revision }: Manifest, root: Uint8Array, blocks: StoredBlocks): Promise<ResidentSnapshot> {
    return this.#served.load({ environment: this.environment, revision, root, blocks });
  }

  /** From here on this revision serves. */
  #accept(manifest: Manifest): HighWaterMark {
    const { epoch, revision, digest } = manifest;
    this.#mark = this.#markAfter(manifest);
    this.#quarantine.clearStrikes();
    this.slot.trapCount = 0;
    this.counters.activated += 1;
    this.#logger.info({ epoch, revision }, 'revision active');
    return { epoch, revision, digest };
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

function newest(a: HighWaterMark | undefined, b: HighWaterMark | undefined): HighWaterMark | undefined {
  if (a === undefined || b === undefined) return a ?? b;
  return compareOrder(a, b) < 0 ? b : a;
}
