import type { CompiledSnapshot, ResidentSnapshot } from '@guidon/engine';
import type { HighWaterMark } from '@guidon/protocol/signed-config';
import type { ActiveSnapshot, EnvironmentSlot } from '../environment-slot.js';
import type { SnapshotKernel } from '../snapshot-kernel.js';
import type { SnapshotResidency } from '../snapshot-residency.js';

export interface ServedParts {
  readonly kernel: SnapshotKernel;
  readonly residency: SnapshotResidency;
  /** The environment left kernel memory: nothing else of it needs to stay in the process. */
  readonly onEvict: () => void;
}

/** What serves changed while it was being loaded: so often in a row, then the load waits for its turn. */
const RELOADS_MAX = 3;

/**
 * What serves of one environment, and what served before it: the way back from a revision that traps. Owns their places in kernel memory; an
 * evicted environment has none, and its way back lies on the disk.
 */
export class ServedSnapshots {
  readonly #slot: EnvironmentSlot;
  readonly #parts: ServedParts;
  #serving: HighWaterMark | undefined;
  #previous: ActiveSnapshot | undefined;

  constructor(slot: EnvironmentSlot, parts: ServedParts) {
    this.#slot = slot;
    this.#parts = parts;
  }

  /** The revision that serves, resident or not. */
  get serving(): HighWaterMark | undefined {
    return this.#serving;
  }

  get isResident(): boolean {
    return this.#slot.active !== undefined;
  }

  /** Nobody asks for it: what was evicted stays on the disk, and what is new does not push others out. */
  get staysCold(): boolean {
    const { residency } = this.#parts;
    if (this.isResident || residency.isWanted(this.#slot)) return false;
    return this.#serving !== undefined || !residency.hasRoom;
  }

  load(snapshot: CompiledSnapshot): Promise<ResidentSnapshot> {
    const { kernel, residency } = this.#parts;
    return residency.withRoom(this.#slot, () => kernel.load(snapshot));
  }

  /** Synchronous: no request sees a half of it. `keepsPrevious`: what serves now has trapped, the way back stays the one before it. */
  swap(serving: HighWaterMark, resident: ResidentSnapshot, keepsPrevious = false): void {
    const before = this.#slot.active;
    this.#release(keepsPrevious ? before : this.#previous);
    if (!keepsPrevious) this.#previous = before;
    this.#show(serving, resident);
  }

  /** The disk has this revision now. What a request has made resident meanwhile leaves; the next one takes this from the disk. */
  swapCold(serving: HighWaterMark): void {
    if (this.isResident) {
      this.#parts.residency.forget(this.#slot);
      this.#evict();
    }
    this.#serving = serving;
    this.#slot.keepCold(serving);
    this.#parts.onEvict();
  }

  /**
   * Makes resident what serves. When that changes while it is being loaded, it starts again. False: `load` did not have it.
   */
  async reload(load: (serving: HighWaterMark) => Promise<ResidentSnapshot | undefined>): Promise<boolean> {
    for (let count = 0; count < RELOADS_MAX; count += 1) {
      const serving = this.#serving;
      if (serving === undefined || this.isResident) break;
      const resident = await load(serving);
      if (this.#serving === serving && !this.isResident) {
        if (resident !== undefined) this.#show(serving, resident);
        break;
      }
      if (resident !== undefined) this.#parts.kernel.release(resident);
    }
    return this.isResident;
  }

  /** What serves has trapped too often: what served before it serves again, where it is still there. */
  stepBack(): 'stepped-back' | 'nothing-serves' {
    const previous = this.#previous;
    if (previous === undefined) {
      this.clear();
      return 'nothing-serves';
    }
    const poisonous = this.#slot.active;
    this.#previous = undefined;
    this.#serving = previous;
    this.#slot.activate(previous);
    this.#release(poisonous);
    return 'stepped-back';
  }

  releasePrevious(): void {
    this.#release(this.#previous);
    this.#previous = undefined;
  }

  /** Nothing serves any more. */
  clear(): void {
    const { active } = this.#slot;
    this.#serving = undefined;
    this.#slot.clear();
    this.#parts.residency.forget(this.#slot);
    this.#release(active);
    this.releasePrevious();
  }

  #show(serving: HighWaterMark, resident: ResidentSnapshot): void {
    const { epoch, revision, digest } = serving;
    this.#serving = serving;
    this.#slot.activate({ environment: this.#slot.environment, epoch, revision, digest, resident });
    this.#parts.residency.admit(this.#slot, () => this.#evict());
  }

  #evict(): void {
    const { active } = this.#slot;
    this.#slot.evict();
    this.#release(active);
    this.releasePrevious();
    this.#parts.onEvict();
  }

  #release(snapshot: ActiveSnapshot | undefined): void {
    if (snapshot !== undefined) this.#parts.kernel.release(snapshot.resident);
  }
}
