import type { ResidentSnapshot } from '@guidon/engine';
import { type EnvironmentRef, PlatformError } from '@guidon/protocol';
import type { HighWaterMark } from '@guidon/protocol/signed-config';
import { compareOrder, type Manifest, newestMark, parseManifest, type Signed } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { StoredBlocks } from '../snapshot-store/stored-blocks.js';
import { QuarantineList } from './quarantine-list.js';
import { type Outcome, type ReducerCounters, type ReducerParts, refuse } from './reducer-parts.js';
import { type LedgerChange, RevisionLedger } from './revision-ledger.js';
import { ServedSnapshots } from './served-snapshots.js';
import { traceStep } from './trace-activation.js';

/**
 * Which revision is in force in one environment: the snapshots that serve, what the disk holds of them, what was refused, and the mark that
 * never falls (I7). ConfigFromMessages and ConfigFromDisk bring revisions here; nothing else changes it.
 */
export class ConfigInForce {
  readonly slot: EnvironmentSlot;
  readonly parts: ReducerParts;
  readonly logger: pino.Logger;
  readonly counters: ReducerCounters;
  readonly quarantine: QuarantineList;
  readonly ledger: RevisionLedger;
  readonly served: ServedSnapshots;
  /** From signing to serving, of the newest revision that came as a change, milliseconds; undefined once it has been taken. */
  lagMs: number | undefined;
  #mark: HighWaterMark | undefined;

  constructor(slot: EnvironmentSlot, parts: ReducerParts, counters: ReducerCounters) {
    this.slot = slot;
    this.parts = parts;
    this.counters = counters;
    this.logger = parts.logger.child({ environment: slot.environment });
    this.readMark();
    this.quarantine = new QuarantineList(parts.store, slot.environment);
    this.ledger = new RevisionLedger(parts.store, slot.environment);
    const { kernel, residency } = parts;
    this.served = new ServedSnapshots(slot, { kernel, residency, onEvict: () => this.ledger.forget() });
  }

  get environment(): EnvironmentRef {
    return this.slot.environment;
  }

  get mark(): HighWaterMark | undefined {
    return this.#mark;
  }

  /** What the disk says; another process may have written it. It never falls, whatever the disk says (I7). */
  readMark(): void {
    this.#mark = newestMark(this.#mark, this.parts.store.findMark(this.environment, 'config'));
  }

  /** Only a quarantine takes this node below what it has served (I7). */
  assertNotOlder(manifest: Manifest): void {
    if (this.#mark === undefined || compareOrder(manifest, this.#mark) >= 0) return;
    if (this.quarantine.wasRefused(this.#mark)) return;
    throw new PlatformError('revision-behind', 'the stored revision is older than the high-water mark');
  }

  /** A revision that has trapped is no way back: the good one before it stays that. */
  nextFallback(): LedgerChange['fallback'] {
    if (this.served.serving === undefined) return 'none';
    return this.slot.trapCount > 0 && this.ledger.hasFallback ? 'kept' : 'stored';
  }

  /** Disk first, with the mark; then it serves. */
  async bringIntoForce(change: Omit<LedgerChange, 'mark'>): Promise<void> {
    const { manifest, answer } = change;
    const persist = () => traceStep('persist', () => this.ledger.put({ ...change, mark: this.#markAfter(manifest) }));
    if (this.served.staysCold) {
      await persist();
      await traceStep('swap', async () => this.served.swapCold(this.accept(manifest)));
      return;
    }
    const resident = await traceStep('load', () => this.load(manifest, answer.root, this.ledger.blocks(answer)));
    await persist();
    await traceStep('swap', async () => this.served.swap(this.accept(manifest), resident, change.fallback === 'kept'));
  }

  /** Never falls: a revision that is restored after a quarantine is older than the mark (I7). */
  #markAfter({ epoch, revision, digest }: Manifest): HighWaterMark {
    const next = { epoch, revision, digest };
    return this.#mark !== undefined && compareOrder(next, this.#mark) < 0 ? this.#mark : next;
  }

  load({ revision }: Manifest, root: Uint8Array, blocks: StoredBlocks): Promise<ResidentSnapshot> {
    return this.served.load({ environment: this.environment, revision, root, blocks });
  }

  /** From here on this revision serves. */
  accept(manifest: Manifest): HighWaterMark {
    const { epoch, revision, digest } = manifest;
    this.#mark = this.#markAfter(manifest);
    this.quarantine.clearStrikes();
    this.slot.trapCount = 0;
    this.counters.activated += 1;
    this.logger.info({ epoch, revision }, 'revision active');
    return { epoch, revision, digest };
  }

  /** Takes a younger manifest of the revision that serves, so that it can be handed on after its key or its time is over. */
  async renew(manifest: Manifest, signed: Signed): Promise<void> {
    const { store, now } = this.parts;
    const stored = store.findSigned(this.environment);
    if (stored === undefined || manifest.expiresAt <= now()) return;
    const before = parseManifest(stored.document);
    const isSame = compareOrder(manifest, before) === 0 && manifest.digest === before.digest;
    if (!isSame || manifest.issuedAt <= before.issuedAt) return;
    await store.putManifest(this.environment, signed);
    this.slot.renewalCount += 1;
  }

  refuse(error: unknown, what: string): Outcome {
    return refuse(error, what, this);
  }

  /** A failure on the way: tried again with backoff, unless the definitions are to blame for it time and again (I10). */
  async strike(manifest: Manifest, error: unknown): Promise<Outcome> {
    this.counters.failed += 1;
    this.logger.error({ err: error, revision: manifest.revision }, 'a revision could not be activated');
    if (!this.quarantine.strike(manifest, error)) return 'failed';
    await this.putQuarantine(manifest, error instanceof Error ? error.message : String(error));
    return 'refused';
  }

  async putQuarantine(revision: HighWaterMark, reason: string): Promise<void> {
    this.counters.quarantined += 1;
    const quarantine = await this.quarantine.put(revision, reason);
    this.logger.error({ quarantine }, 'revision quarantined; the last good one serves');
  }
}
