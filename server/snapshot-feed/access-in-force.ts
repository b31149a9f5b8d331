import { PlatformError } from '@guidon/protocol';
import type { AccessList, HighWaterMark, Signed, TrustedKeys } from '@guidon/protocol/signed-config';
import { compareOrder, isFastForward, newestMark } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { EnvironmentSlot } from '../environment-slot.js';
import { type Outcome, type ReducerCounters, type ReducerParts, refuse } from './reducer-parts.js';

/**
 * Which access list holds in one environment, whatever source it came from: message -> signature, environment -> order -> disk, with the
 * high-water mark -> in force. A list that was revoked by a newer one never comes back, not even after a restart (I7).
 */
export class AccessInForce {
  readonly #slot: EnvironmentSlot;
  readonly #parts: ReducerParts;
  readonly #counters: ReducerCounters;
  readonly #logger: pino.Logger;
  #mark: HighWaterMark | undefined;

  constructor(slot: EnvironmentSlot, parts: ReducerParts, counters: ReducerCounters) {
    this.#slot = slot;
    this.#parts = parts;
    this.#counters = counters;
    this.#logger = parts.logger.child({ environment: slot.environment });
    this.readMark();
  }

  /** Order is (epoch, sequence): after a restore a sequence may come again in a higher epoch. */
  get standing(): { readonly accessEpoch: number; readonly accessSequence: number } {
    return { accessEpoch: this.#mark?.epoch ?? 0, accessSequence: this.#mark?.revision ?? 0 };
  }

  /** What the disk says; another process may have written it. It never falls, whatever the disk says (I7). */
  readMark(): void {
    this.#mark = newestMark(this.#mark, this.#parts.store.findMark(this.#slot.environment, 'access'));
  }

  /** An access list from any source. */
  async receive(signed: Signed): Promise<Outcome> {
    try {
      const accessList = this.#parts.keys().verifyAccessList(this.#slot.environment, signed);
      const mark = { epoch: accessList.epoch, revision: accessList.sequence, digest: '' };
      const order = this.#mark === undefined ? 1 : compareOrder(mark, this.#mark);
      const { accessList: before } = this.#slot;
      // A younger one of the same sequence says the same under a key that is in force.
      if (order < 0 || (order === 0 && before !== undefined && accessList.issuedAt <= before.issuedAt))
        return 'ignored';
      if (isFastForward(mark, this.#mark)) throw new PlatformError('conflict', 'fast-forward');
      await this.#parts.store.putAccess(this.#slot.environment, signed, mark);
      this.#mark = mark;
      this.#accept(accessList);
      return 'activated';
    } catch (error) {
      return refuse(error, 'an access list is not to be trusted', { counters: this.#counters, logger: this.#logger });
    }
  }

  /** What this node had before it ended. */
  restore(): void {
    const signed = this.#parts.store.findAccess(this.#slot.environment);
    if (signed === undefined) return;
    try {
      this.#accept(this.#verifyStored(signed, this.#parts.keys()));
    } catch (error) {
      this.#logger.error({ err: error }, 'the stored access list cannot be used');
    }
  }

  /** Brings into force what another process of this node has written. */
  follow(signed: Signed): void {
    this.#accept(this.#verifyStored(signed, this.#parts.keys()));
  }

  /** From here on this list says who may ask, and what the tenant may use. */
  #accept(accessList: AccessList): void {
    const { directory, residency } = this.#parts;
    directory.replace(this.#slot, accessList);
    residency.keepTenantWithin(this.#slot);
  }

  #verifyStored(signed: Signed, keys: TrustedKeys): AccessList {
    const accessList = keys.verifyAccessList(this.#slot.environment, signed);
    const mark = { epoch: accessList.epoch, revision: accessList.sequence };
    if (this.#mark !== undefined && compareOrder(mark, this.#mark) < 0) {
      throw new PlatformError('revision-behind', 'the stored access list is older than the high-water mark');
    }
    return accessList;
  }
}
