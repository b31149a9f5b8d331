import { PlatformError } from '@guidon/protocol';
import type { Position } from '@guidon/protocol/live-updates';
import { type ConfigMessage, decideConfig, type HighWaterMark, type Manifest } from '@guidon/protocol/signed-config';
import { DefinitionSet } from './definition-set.js';
import type { DiskCopy } from './disk-copy.js';
import { Serving } from './serving.js';
import type { Trust } from './trust.js';

/** What became of a message. `fetch-whole`: it does not fit what is here; everything is needed. */
export type Outcome = 'activated' | 'ignored' | 'fetch-whole' | 'refused';

/** Checked and built, and not yet in force. */
interface Candidate {
  readonly manifest: Manifest;
  readonly definitions: DefinitionSet;
  readonly serving: Serving;
}

export interface ConfigParts {
  readonly trust: Trust;
  /** Absent: nothing is kept. */
  readonly disk: DiskCopy | undefined;
  readonly onActivated: (next: Serving, previous: Serving | undefined) => void;
  readonly warn: (message: string, error?: unknown) => void;
}

/** Revisions that could not be used, newest last; more are forgotten, and would be tried again. */
const REFUSED_COUNT_MAX = 16;
/** A disk that takes longer must not keep a change from being served. */
const DISK_MS_MAX = 2_000;

/**
 * The configuration that is evaluated. Whatever a message comes from, it is activated only after: signature and environment (Trust) -> revision
 * rules (decideConfig, the same that nodes go by) -> digest -> definitions -> on the disk. Until then, and when any of it fails, the last good one
 * goes on (I7, I9, I12).
 */
export class ConfigInForce {
  readonly #parts: ConfigParts;
  #serving: Serving | undefined;
  #definitions = DefinitionSet.EMPTY;
  #manifest: Manifest | undefined;
  #refused: readonly HighWaterMark[] = [];
  /** One message after the other. It holds as many as there are sources: each waits for the outcome of its last one. */
  #last: Promise<unknown> = Promise.resolve();
  /** The newest revision is not on the disk: it was full, or slow. */
  isDiskBehind = false;
  refusedCount = 0;

  constructor(parts: ConfigParts) {
    this.#parts = parts;
  }

  get serving(): Serving | undefined {
    return this.#serving;
  }

  /** What to ask for changes since. */
  get position(): Position | undefined {
    return this.#manifest;
  }

  /** What the disk has, before anything else. False: there is nothing good. */
  restore(): boolean {
    const { disk, trust, warn } = this.#parts;
    try {
      const copy = disk?.read();
      if (copy === undefined) return false;
      trust.restore(copy.keys);
      const manifest = trust.verifyKnown(copy.config.signed);
      this.#swap(this.#candidate(manifest, copy.config, true));
      return true;
    } catch (error) {
      warn('the configuration on the disk cannot be used', error);
      return false;
    }
  }

  /** Never rejects for what a message holds. */
  receive(message: ConfigMessage): Promise<Outcome> {
    const received = this.#last.then(() => this.#receive(message));
    this.#last = received.catch(() => undefined);
    return received;
  }

  /** Settles what is under way. */
  async close(): Promise<void> {
    await this.#last;
  }

  async #receive(message: ConfigMessage): Promise<Outcome> {
    let manifest: Manifest;
    try {
      manifest = await this.#parts.trust.verify(message.signed);
    } catch (error) {
      return this.#refuse('config is not to be trusted', error);
    }
    const active = this.#manifest;
    const decision = decideConfig(
      manifest,
      { previousRevision: message.previousRevision, hasDelta: message.delta !== undefined },
      { mark: active, active, quarantine: this.#refused, nowMs: Date.now() },
    );
    if (decision.action === 'ignore') return 'ignored';
    if (decision.action === 'fetch') return 'fetch-whole';
    if (decision.action === 'refuse')
      return this.#refuse('config breaks the revision rules', new PlatformError('conflict', decision.reason));
    const isWhole = decision.base === 'nothing';
    let next: Candidate;
    try {
      next = this.#candidate(manifest, message, isWhole);
    } catch (error) {
      if (!isWhole) return 'fetch-whole';
      const isDamaged = error instanceof PlatformError && error.code === 'conflict';
      // Its content, as it was signed for: trying again gives nothing else (I10).
      if (!isDamaged) this.#refused = [...this.#refused, manifest].slice(-REFUSED_COUNT_MAX);
      return this.#refuse('config cannot be used', error);
    }
    await this.#keep(message, next.definitions);
    this.#swap(next);
    return 'activated';
  }

  /** On the disk first, so that no restart goes back behind what has been served (I7). */
  async #keep({ signed }: ConfigMessage, definitions: DefinitionSet): Promise<void> {
    const { disk, trust, warn } = this.#parts;
    if (disk === undefined || trust.known === undefined) return;
    try {
      await disk.write({ keys: trust.known, signed, definitions: definitions.texts() }, DISK_MS_MAX);
      this.isDiskBehind = false;
    } catch (error) {
      if (!this.isDiskBehind) warn('the configuration cannot be kept on the disk', error);
      this.isDiskBehind = true;
    }
  }

  #candidate(manifest: Manifest, { delta }: ConfigMessage, isWhole: boolean): Candidate {
    const definitions = this.#definitions.next(delta ?? { changed: [], removed: [] }, manifest.digest, isWhole);
    return { manifest, definitions, serving: new Serving(definitions, manifest) };
  }

  #swap({ manifest, definitions, serving }: Candidate): void {
    const previous = this.#serving;
    this.#definitions = definitions;
    this.#manifest = manifest;
    this.#serving = serving;
    this.#parts.onActivated(serving, previous);
  }

  #refuse(what: string, error: unknown): Outcome {
    this.refusedCount += 1;
    this.#parts.warn(what, error);
    return 'refused';
  }
}
