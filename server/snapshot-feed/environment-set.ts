import type { EnvironmentRef } from '@guidon/protocol';
import { EnvironmentDigests } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import { EnvironmentSlot } from '../environment-slot.js';
import type { ConfigSource } from './config-source.js';
import { EnvironmentEntry } from './environment-entry.js';
import { EnvironmentReducer } from './environment-reducer.js';
import type { Outcome, ReducerParts } from './reducer-parts.js';
import { Semaphore } from './serial-queue.js';
import { Trust } from './trust.js';

export interface EnvironmentSetOptions {
  readonly source: ConfigSource;
  readonly parts: Omit<ReducerParts, 'keys'>;
  readonly trustRoot: string | undefined;
  readonly logger: pino.Logger;
}

/** Environments that are brought up to date at once. */
const CONCURRENCY_MAX = 4;

/**
 * The environments that this process serves, and the keys they are verified with. Kept up to date by one of two: SnapshotFeed, from the
 * control plane, in the process of a node that writes its store; StoreFollower, from that store, in the others. They may take turns,
 * what serves goes on serving.
 */
export class EnvironmentSet {
  readonly trust: Trust;
  /** What this process has, as the control plane would say it. */
  readonly digests = new EnvironmentDigests();
  readonly #options: EnvironmentSetOptions;
  readonly #entries = new Map<string, EnvironmentEntry>();
  readonly #bySlot = new Map<EnvironmentSlot, EnvironmentEntry>();
  readonly #slices = new Semaphore(CONCURRENCY_MAX);
  #onChange: (entry: EnvironmentEntry, outcome: Outcome) => void = () => undefined;
  #onDigests: () => void = () => undefined;

  constructor(options: EnvironmentSetOptions) {
    this.#options = options;
    this.trust = new Trust(options.parts.store, options.trustRoot, options.logger);
  }

  get slots(): readonly EnvironmentSlot[] {
    return [...this.#bySlot.keys()];
  }

  get entries(): readonly EnvironmentEntry[] {
    return [...this.#entries.values()];
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Whoever keeps the set up to date hears what became of each task; one at a time. */
  onChange(listener: (entry: EnvironmentEntry, outcome: Outcome) => void): void {
    this.#onChange = listener;
  }

  /** Told whenever `digests` may have changed, whoever keeps the set up to date. */
  onDigests(listener: () => void): void {
    this.#onDigests = listener;
  }

  entryOf(slot: EnvironmentSlot): EnvironmentEntry | undefined {
    return this.#bySlot.get(slot);
  }

  find(environmentId: string): EnvironmentEntry | undefined {
    return this.#entries.get(environmentId);
  }

  /** The one that is there, or a new one. */
  take(environment: EnvironmentRef): EnvironmentEntry {
    return this.#entries.get(environment.environmentId) ?? this.#add(environment);
  }

  /** It serves on until its reducer is stopped. */
  delete(entry: EnvironmentEntry): void {
    this.#entries.delete(entry.environment.environmentId);
    this.#bySlot.delete(entry.slot);
    this.digests.delete(entry.environment.environmentId);
    this.#onDigests();
  }

  /** What is under way has ended. */
  async idle(): Promise<void> {
    await Promise.all(this.entries.map((entry) => entry.idle()));
  }

  #add(environment: EnvironmentRef): EnvironmentEntry {
    const { parts, source, logger } = this.#options;
    const slot = new EnvironmentSlot(environment, performance.now());
    const entry = new EnvironmentEntry(new EnvironmentReducer(slot, { ...parts, keys: this.trust.keys }), {
      source,
      slices: this.#slices,
      logger,
      onChange: (outcome) => {
        const { epoch, revision, accessSequence } = entry.reducer.standing;
        this.digests.set({ ...entry.environment, epoch, revision, accessSequence });
        this.#onDigests();
        this.#onChange(entry, outcome);
      },
    });
    this.#entries.set(environment.environmentId, entry);
    this.#bySlot.set(slot, entry);
    return entry;
  }
}
