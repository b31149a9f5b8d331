import type { EnvironmentRef } from '@guidon/protocol';
import { type ConfigMessage, parseAccessList, parseManifest, type Signed } from '@guidon/protocol/signed-config';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { Quarantine } from '../snapshot-store/snapshot-store.js';
import { AccessInForce } from './access-in-force.js';
import { ConfigFromDisk } from './config-from-disk.js';
import { ConfigFromMessages } from './config-from-messages.js';
import { ConfigInForce } from './config-in-force.js';
import type { Outcome, ReducerCounters, ReducerParts } from './reducer-parts.js';
import { isSameBytes, type Signatures, type StoredEnvironment, signaturesOf } from './stored-environment.js';

/** I20 and the threat model: so many traps of one revision, and the one before serves again. */
const TRAPS_MAX = 3;
/** How often a reader starts again because the writer was faster. */
const FOLLOW_COUNT_MAX = 5;
const NEVER_FOLLOWED: Signatures = { config: undefined, access: undefined };

/** What serves, and which access list holds; zeros while there is none. */
export interface Standing {
  readonly epoch: number;
  readonly revision: number;
  readonly accessEpoch: number;
  readonly accessSequence: number;
}

/**
 * The only way config and access lists come into force for one environment, whatever source they came from (I7, I9, I10):
 *
 *   ConfigFromMessages (bus, HTTP) -+-> ConfigInForce: kernel memory -> disk, with the high-water mark -> pointer swap -> release
 *   ConfigFromDisk ----------------/
 *   AccessInForce (bus, HTTP, disk)
 *
 * The revision of a cold environment goes to the disk alone; reload() takes it from there when a request asks for it.
 * A step that fails leaves everything as it was: the last good snapshot serves. Callers run one call at a time (SerialQueue).
 */
export class EnvironmentReducer {
  readonly slot: EnvironmentSlot;
  readonly counters: ReducerCounters = { activated: 0, refused: 0, failed: 0, forks: 0, quarantined: 0 };
  readonly #parts: ReducerParts;
  readonly #inForce: ConfigInForce;
  readonly #messages: ConfigFromMessages;
  readonly #disk: ConfigFromDisk;
  readonly #access: AccessInForce;
  /** Signatures of what was read last, where another process writes: the same ones bring nothing new. */
  #followed: Signatures | undefined;

  constructor(slot: EnvironmentSlot, parts: ReducerParts) {
    this.slot = slot;
    this.#parts = parts;
    this.#inForce = new ConfigInForce(slot, parts, this.counters);
    this.#messages = new ConfigFromMessages(this.#inForce);
    this.#disk = new ConfigFromDisk(this.#inForce);
    this.#access = new AccessInForce(slot, parts, this.counters);
  }

  get environment(): EnvironmentRef {
    return this.slot.environment;
  }

  /** Where this node stands, for the digest poll. */
  get standing(): Standing {
    const { epoch, revision } = this.#inForce.served.serving ?? { epoch: 0, revision: 0 };
    return { epoch, revision, ...this.#access.standing };
  }

  /** From signing to serving of a revision that came as a change since this was asked last, milliseconds; undefined: none did. */
  takeLag(): number | undefined {
    const { lagMs } = this.#inForce;
    this.#inForce.lagMs = undefined;
    return lagMs;
  }

  get quarantine(): readonly Quarantine[] {
    return this.#inForce.quarantine.entries;
  }

  /** True when it is known already that this revision will not serve: there is no use in fetching it again. */
  isQuarantined(state: { readonly epoch: number; readonly revision: number }): boolean {
    return this.#inForce.quarantine.has(state);
  }

  /** Config from any source. Never throws for what a message holds. */
  receive(message: ConfigMessage): Promise<Outcome> {
    return this.#messages.receive(message);
  }

  /**
   * What is stored has been signed by a key that is not in force any more, or long ago: a newcomer to whom this node hands it on would refuse
   * it, soon or already.
   */
  isRenewalDue(): boolean {
    const { store, keys, now } = this.#parts;
    const config = store.findSigned(this.environment);
    const access = store.findAccess(this.environment);
    if (config === undefined) return false;
    const { keyId, issuedAt, expiresAt } = parseManifest(config.document);
    if (!keys().isInForce({ keyId, issuedAt }) || now() > (issuedAt + expiresAt) / 2) return true;
    return access !== undefined && !keys().isInForce(parseAccessList(access.document));
  }

  /** An access list from any source. Never throws for what it holds. */
  receiveAccess(signed: Signed): Promise<Outcome> {
    return this.#access.receive(signed);
  }

  /**
   * Brings back what this node served before it ended, from its own disk alone; where that is in quarantine, the last good revision before
   * it (I10). Without room for it in kernel memory the snapshot stays on the disk until somebody asks, and is verified then. False: there
   * is nothing good here, the control plane has to be asked.
   */
  restore(): Promise<boolean> {
    this.#access.restore();
    return this.#disk.restore();
  }

  /**
   * Makes the revision that serves resident, from the node's own disk, verified as at a start. It does not wait for its turn among the
   * messages, which may be waiting for the control plane. False: the disk does not have it, so restoreServing() has to see what there is.
   */
  reload(): Promise<boolean> {
    return this.#disk.reload();
  }

  /**
   * After reload() failed, in turn with the messages: the disk's way back, else the control plane is asked for everything. Where another process
   * writes, what it has written meanwhile.
   */
  async restoreServing(): Promise<Outcome> {
    const { served } = this.#inForce;
    if (served.serving === undefined || served.isResident) return 'ignored';
    if (this.#parts.store.isReader) {
      await this.follow();
      return served.isResident || (await this.reload()) ? 'ignored' : 'failed';
    }
    if (await this.#disk.restoreStored()) return 'ignored';
    served.clear();
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
        const { state, access } = stored;
        const { config: lastConfig, access: lastAccess } = this.#followed ?? NEVER_FOLLOWED;
        const isNewAccess = access !== undefined && !isSameBytes(access.signature, lastAccess);
        if (isNewAccess) this.#access.follow(access);
        const isOtherConfig = state !== undefined && !isSameBytes(state.signed.signature, lastConfig);
        const isNewConfig = isOtherConfig && (await this.#disk.follow(state));
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
      this.#inForce.readMark();
      this.#access.readMark();
      this.#inForce.quarantine.read();
      return { state: store.findState(this.environment), access: store.findAccess(this.environment) };
    });
  }

  #hasFollowed(stored: StoredEnvironment): boolean {
    const { config, access } = signaturesOf(stored);
    const { config: lastConfig, access: lastAccess } = this.#followed ?? NEVER_FOLLOWED;
    return this.#followed !== undefined && isSameBytes(config, lastConfig) && isSameBytes(access, lastAccess);
  }

  #isStored({ state }: StoredEnvironment): boolean {
    const now = this.#parts.store.readTogether(() => this.#parts.store.findState(this.environment));
    return isSameBytes(now?.signed.signature, state?.signed.signature);
  }

  /**
   * A request made the kernel trap on the active snapshot. The third time it is quarantined and the last good one serves again; where there
   * is none, nothing does, until a newer revision comes.
   */
  async reportTrap(): Promise<void> {
    this.slot.trapCount += 1;
    const { serving } = this.#inForce.served;
    if (serving === undefined || this.slot.trapCount < TRAPS_MAX) return;
    this.slot.trapCount = 0;
    const outcome = this.#inForce.served.stepBack();
    await this.#inForce.putQuarantine(serving, `${TRAPS_MAX} traps`);
    // The disk goes back too: it holds what serves, for the next delta, for explaining and for a restart.
    const isRolledBack = await this.#inForce.ledger.rollBack();
    if (outcome === 'nothing-serves' && isRolledBack) await this.#disk.restoreStored();
  }

  /** Everything that explaining needs of the definitions in force. */
  definitionsInForce(): Uint8Array[] | undefined {
    return this.#inForce.served.serving === undefined ? undefined : this.#inForce.ledger.definitions();
  }

  /** Hash of each definition on the disk, by `kind NUL key`: of the revision that serves, except while the disk goes back after a quarantine. */
  indexInForce(): ReadonlyMap<string, string> {
    return this.#inForce.ledger.index;
  }

  /** Stops serving: the environment is gone. */
  stop(): void {
    this.#parts.directory.remove(this.slot);
    this.#inForce.served.clear();
  }

  /** Stops serving and removes it from the disk. */
  async remove(): Promise<void> {
    this.stop();
    await this.#parts.store.removeEnvironment(this.environment);
  }
}
