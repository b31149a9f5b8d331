import { LAYOUT_HASH } from '@guidon/engine';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { HighWaterMark } from '@guidon/protocol/signed-config';
import { compareOrder } from '@guidon/protocol/signed-config';
import type { Quarantine, SnapshotStore } from '../snapshot-store/snapshot-store.js';

/** A revision that fails this often for a reason of its own is given up. */
const STRIKES_MAX = 3;
/** Remembered per environment; the oldest are forgotten, their revisions are long past. */
const QUARANTINE_COUNT_MAX = 100;
/** What the evaluator is: another layout of its memory is another compiler and another kernel. */
const BUILD = LAYOUT_HASH.toString(16);

/**
 * The revisions of one environment that failed a check and are not tried again (I10): by this build of the evaluator, since an upgraded
 * node may well be able to.
 */
export class QuarantineList {
  readonly #store: SnapshotStore;
  readonly #environment: EnvironmentRef;
  /** Of every build, oldest first. */
  #all: readonly Quarantine[] = [];
  #strikes: { readonly digest: string; readonly count: number } | undefined;

  constructor(store: SnapshotStore, environment: EnvironmentRef) {
    this.#store = store;
    this.#environment = environment;
    this.read();
  }

  /** What the disk has; another process may have written it. */
  read(): void {
    this.#all = this.#store.listQuarantine(this.#environment).sort(compareOrder);
  }

  /** Of this build. */
  get entries(): readonly Quarantine[] {
    return this.#all.filter(({ build }) => build === BUILD);
  }

  has(state: { readonly epoch: number; readonly revision: number }): boolean {
    return this.entries.some((quarantine) => compareOrder(quarantine, state) === 0);
  }

  /** Some build refused it: a node may hold something older although it has seen this. */
  wasRefused(state: { readonly epoch: number; readonly revision: number }): boolean {
    return this.#all.some((quarantine) => compareOrder(quarantine, state) === 0);
  }

  /**
   * True when this was one failure too many. Only what the definitions are to blame for counts: a worker that dies of them, a snapshot that the
   * kernel refuses. A full memory, a deadline, a full queue or a full disk say nothing about a revision.
   */
  strike({ digest }: HighWaterMark, error: unknown): boolean {
    if (!(error instanceof PlatformError) || (error.code !== 'internal' && error.code !== 'validation-failed')) {
      return false;
    }
    const count = this.#strikes?.digest === digest ? this.#strikes.count + 1 : 1;
    this.#strikes = { digest, count };
    return count >= STRIKES_MAX;
  }

  clearStrikes(): void {
    this.#strikes = undefined;
  }

  async put({ epoch, revision, digest }: HighWaterMark, reason: string): Promise<Quarantine> {
    const quarantine: Quarantine = { epoch, revision, digest, reason: reason.slice(0, 500), build: BUILD };
    const others = this.#all.filter((other) => other.digest !== digest || other.build !== BUILD);
    const forgotten = others.slice(0, Math.max(0, others.length + 1 - QUARANTINE_COUNT_MAX));
    this.#all = [...others.slice(forgotten.length), quarantine];
    await this.#store.putQuarantine(this.#environment, quarantine, forgotten);
    return quarantine;
  }
}
