import type { ResidentSnapshot } from '@guidon/engine';
import { PlatformError } from '@guidon/protocol';
import type { HighWaterMark, Manifest, Signed } from '@guidon/protocol/signed-config';
import { compareOrder } from '@guidon/protocol/signed-config';
import type { PersistedState } from '../snapshot-store/snapshot-store.js';
import type { ConfigInForce } from './config-in-force.js';

/**
 * Brings config of one environment into force that this node's own disk has: at a start, when an evicted environment is asked for, after a
 * quarantine, and what another process of the node has written. All of it is verified like a message.
 */
export class ConfigFromDisk {
  readonly #inForce: ConfigInForce;

  constructor(inForce: ConfigInForce) {
    this.#inForce = inForce;
  }

  /** At a start. Without room for it in kernel memory the snapshot stays on the disk until somebody asks. False: there is nothing good. */
  async restore(): Promise<boolean> {
    const { residency } = this.#inForce.parts;
    return (!residency.hasRoom && this.#restoreCold()) || this.restoreStored();
  }

  /** False: the disk holds something else than the last revision that was activated. */
  #restoreCold(): boolean {
    const mark = this.#inForce.mark;
    if (mark === undefined || this.#inForce.quarantine.wasRefused(mark)) return false;
    if (!this.#inForce.parts.store.hasState(this.#inForce.environment)) return false;
    this.#inForce.served.swapCold(mark);
    return true;
  }

  /**
   * Makes the revision that serves resident, from the node's own disk, verified as at a start. It does not wait for its turn among the
   * messages, which may be waiting for the control plane. False: the disk does not have it, so restoreServing() has to see what there is.
   */
  reload(): Promise<boolean> {
    return this.#inForce.served.reload((serving) => this.#loadServing(serving));
  }

  async #loadServing(serving: HighWaterMark): Promise<ResidentSnapshot | undefined> {
    const { store, keys } = this.#inForce.parts;
    try {
      const state = store.readTogether(() => store.findState(this.#inForce.environment));
      if (state?.root === undefined) return undefined;
      const manifest = keys().verifyManifest(this.#inForce.environment, state.signed);
      if (compareOrder(manifest, serving) !== 0 || manifest.digest !== serving.digest) return undefined;
      return await this.#inForce.load(manifest, state.root, this.#inForce.ledger.blocks());
    } catch (error) {
      this.#inForce.logger.warn({ err: error }, 'the stored snapshot cannot be loaded');
      return undefined;
    }
  }

  /** What another process of this node has written. False: it serves already, or must not. */
  async follow(state: PersistedState): Promise<boolean> {
    const manifest = this.#inForce.parts.keys().verifyManifest(this.#inForce.environment, state.signed);
    // In quarantine: whoever writes is about to put the last good one back.
    if (this.#inForce.quarantine.has(manifest)) return false;
    const active = this.#inForce.served.serving;
    const order = active === undefined ? 1 : compareOrder(manifest, active);
    if (order === 0 && manifest.digest === active?.digest) {
      // Another signature of what serves.
      this.#inForce.slot.renewalCount += 1;
      return false;
    }
    if (order === 0) throw new PlatformError('conflict', 'the stored revision is another one of the same number');
    this.#inForce.assertNotOlder(manifest);
    if (state.root === undefined) throw new PlatformError('validation-failed', 'the stored root is damaged');
    this.#inForce.ledger.forget();
    if (this.#inForce.served.staysCold) {
      this.#inForce.served.swapCold(this.#inForce.accept(manifest));
      return true;
    }
    const resident = await this.#inForce.load(manifest, state.root, this.#inForce.ledger.blocks());
    if (order < 0) this.#inForce.served.releasePrevious();
    this.#inForce.served.swap(this.#inForce.accept(manifest), resident, order < 0);
    return true;
  }

  /** What the disk holds, or where that is in quarantine the last good revision before it (I10). False: there is nothing good. */
  async restoreStored(): Promise<boolean> {
    const { store } = this.#inForce.parts;
    try {
      this.#inForce.ledger.forget();
      const state = store.findState(this.#inForce.environment);
      if (state === undefined) return false;
      const manifest = this.#inForce.parts.keys().verifyManifest(this.#inForce.environment, state.signed);
      if (this.#inForce.quarantine.has(manifest))
        return (await this.#inForce.ledger.rollBack()) && (await this.restoreStored());
      this.#inForce.assertNotOlder(manifest);
      this.#inForce.ledger.assertDigest(manifest);
      const resident = await this.#loadStored(manifest, state.root);
      if (resident === undefined) return await this.#recompile(manifest, state.signed);
      this.#inForce.served.swap(this.#inForce.accept(manifest), resident);
      return true;
    } catch (error) {
      this.#inForce.logger.error({ err: error }, 'the stored revision cannot be used; asking the control plane');
      return false;
    }
  }

  /** Undefined when it is damaged or was made by another version of the compiler. */
  async #loadStored(manifest: Manifest, root: Uint8Array | undefined): Promise<ResidentSnapshot | undefined> {
    try {
      if (root === undefined) throw new PlatformError('validation-failed', 'the stored root is damaged, or elsewhere');
      return await this.#inForce.load(manifest, root, this.#inForce.ledger.blocks());
    } catch (error) {
      this.#inForce.logger.warn({ err: error }, 'the stored snapshot cannot be loaded; compiling it again');
      return undefined;
    }
  }

  /** After a change of the kernel, or when blocks are damaged: the definitions are the record, blocks are made again. */
  async #recompile(manifest: Manifest, signed: Signed): Promise<boolean> {
    const definitions = this.#inForce.ledger.definitions();
    if (definitions === undefined) return false;
    const answer = await this.#inForce.parts.pool.compile({
      environment: this.#inForce.environment,
      revision: manifest.revision,
      changed: definitions,
      removed: [],
      expectedDigest: manifest.digest,
    });
    if (answer.status !== 'compiled') return false;
    await this.#inForce.bringIntoForce({
      manifest,
      signed,
      answer,
      changed: [],
      removed: [],
      isWhole: true,
      fallback: this.#inForce.ledger.hasFallback ? 'kept' : 'none',
    });
    return true;
  }
}
