import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  Backoff,
  type ChangeHints,
  type EnvironmentRef,
  findSubject,
  isSameEnvironment,
  PlatformError,
} from '@guidon/protocol';
import { DurationHistogram } from '@guidon/protocol/metrics';
import { decodeConfigMessage, decodeSigned } from '@guidon/protocol/msgpack';
import { BUS_MESSAGE_BYTES_MAX, bucketOfEnvironment, type EnvironmentState } from '@guidon/protocol/signed-config';
import type pino from 'pino';
import type { EnvironmentSlot } from '../environment-slot.js';
import type { SnapshotStore } from '../snapshot-store/snapshot-store.js';
import { AuditWitness } from './audit-witness.js';
import type { ConfigSource, EnvironmentReport } from './config-source.js';
import type { EnvironmentEntry } from './environment-entry.js';
import type { EnvironmentSet } from './environment-set.js';
import type { Outcome } from './reducer-parts.js';
import { StatusReporter } from './status-reporter.js';

export interface SnapshotFeedOptions {
  readonly nodeId: string;
  readonly source: ConfigSource;
  /** Brings polls forward, and may bring what has changed itself. */
  readonly bus: ChangeHints | undefined;
  readonly environments: EnvironmentSet;
  readonly store: SnapshotStore;
  readonly pollIntervalMs: number;
  /** Open streams of this process: all, and of one environment. */
  readonly streams: { count(): number; countOf(slot: EnvironmentSlot): number };
  readonly version: string;
  /** What a snapshot has answered is reported: this node takes each revision before the others. */
  readonly canary:
    | { answersOf(slot: EnvironmentSlot): { readonly evaluations: number; readonly errors: number } }
    | undefined;
  /** Told with each poll that was answered which environments are not at what the control plane has. */
  readonly onConfirmed?: (behind: ReadonlySet<string>) => void;
  readonly logger: pino.Logger;
}

/** A poll that was asked for between two polls comes no closer than this to the one before. */
const POLL_SPACING_MS = 100;
const PROPAGATION_BOUNDS_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30] as const;
const FAILED_POLL = { firstMs: 500, maxMs: 8_000 } as const;
/** Polls between two looks at the key set when nothing was refused. */
const KEY_SET_EVERY = 12;
/** Polls between two looks at the heads of audit logs. */
const WITNESS_EVERY = 12;
/** Polls between two looks at how long signatures still hold, an hour by default; a new key set brings the next look forward. */
const RENEWAL_EVERY = 720;
const RENEWALS_PER_TURN = 32;
const BUS_DETAIL_CHARS_MAX = 300;
/** An environment is given up when the control plane has not named it in so many polls in a row (I13: absence is not news). */
const ABSENT_POLLS_MAX = 3;
/** The envelope around the largest bus message. */
const BUS_BYTES_MAX = BUS_MESSAGE_BYTES_MAX + 64 * 1024;

/**
 * Keeps every environment of this node at what the control plane has. The digest poll alone does it, within one interval; the bus only
 * makes it faster. The poll runs whether or not the bus works, with the same work each time (I14, I15).
 */
export class SnapshotFeed {
  readonly counters = { polls: 0, failedPolls: 0, busMessages: 0, busRefused: 0 };
  readonly witness: AuditWitness;
  readonly status: StatusReporter;
  /** Counts of an environment as they were last reported. */
  readonly #reportedCounts = new WeakMap<EnvironmentSlot, string>();
  #lagMs: number | null = null;
  /** From signing to serving, of the revisions that arrived one by one. */
  readonly propagation = new DurationHistogram(PROPAGATION_BOUNDS_SECONDS);
  readonly #options: SnapshotFeedOptions;
  readonly #logger: pino.Logger;
  readonly #environments: EnvironmentSet;
  readonly #backoff = new Backoff(FAILED_POLL);
  #unsubscribe: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #lastPollAtMs = Number.NEGATIVE_INFINITY;
  #isPollWanted = false;
  #isClosed = false;
  #hasAnswered = false;
  #needsKeySet = false;
  /** Number of the poll with which signatures are looked at next. */
  #renewalAtPoll = RENEWAL_EVERY;

  constructor(options: SnapshotFeedOptions) {
    this.#options = options;
    this.#logger = options.logger;
    this.#environments = options.environments;
    const { source, store, logger, environments } = options;
    this.witness = new AuditWitness({ source, store, keys: environments.trust.keys, logger });
    const { nodeId, version, streams, canary } = options;
    this.status = new StatusReporter({
      source,
      logger,
      all: () => environments.entries.map((entry) => this.#reportOf(entry)),
      reportOf: (environmentId) => {
        const entry = environments.find(environmentId);
        return entry === undefined ? undefined : this.#reportOf(entry);
      },
      node: () => ({
        nodeId,
        version,
        isCanary: canary !== undefined,
        store: store.status,
        bus: this.#busState,
        streams: streams.count(),
        lagMs: this.#lagMs,
        witness: this.witness.status,
      }),
    });
  }

  /** Takes what the disk has and does not serve yet, then follows the control plane. Resolves when the disk has been read. */
  async start(): Promise<void> {
    const { trust } = this.#environments;
    trust.restore();
    this.#environments.onChange((entry, outcome) => this.#changed(entry, outcome));
    if (trust.isKnown) this.witness.restore();
    const known = trust.isKnown ? this.#options.store.listEnvironments() : [];
    await Promise.all(
      known.map(async (environment) => {
        const entry = this.#environments.take(environment);
        if (entry.slot.serving === undefined) await entry.restore();
      }),
    );
    this.#unsubscribe = this.#options.bus?.subscribe({
      message: (subject, message) => this.#hear(subject, message),
      resumed: () => this.#wantPoll(),
    });
    this.#schedule(0);
  }

  /**
   * Every environment known can answer, or was refused and cannot, and it is known who may ask; and this node knows which there are. One
   * refused environment does not take the others away (I11); a node on which all were refused answers nobody.
   */
  get isReady(): boolean {
    const { entries } = this.#environments;
    if (entries.length === 0) return this.#hasAnswered;
    if (!entries.some(({ slot }) => slot.serving !== undefined) && !entries.every(({ isEmpty }) => isEmpty))
      return false;
    return entries.every(
      ({ isSettled, slot }) => (isSettled || slot.serving !== undefined) && slot.accessList !== undefined,
    );
  }

  get #busState(): string {
    const { bus } = this.#options;
    if (bus === undefined) return 'none';
    const { isConnected, detail } = bus.status();
    return isConnected ? 'connected' : detail.slice(0, BUS_DETAIL_CHARS_MAX);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unsubscribe?.();
    clearTimeout(this.#timer);
    await this.#running;
    await this.status.close();
    await this.#environments.idle();
  }

  #changed(entry: EnvironmentEntry, outcome: Outcome): void {
    if (outcome === 'refused') this.#needsKeySet = true;
    if (outcome === 'activated') entry.slot.confirmedAtMs = performance.now();
    const lagMs = entry.reducer.takeLag();
    if (lagMs !== undefined) {
      this.#lagMs = lagMs;
      this.propagation.observe(lagMs / 1_000);
    }
    if (outcome === 'activated' || outcome === 'refused') this.status.changed(entry.environment.environmentId);
    if (outcome === 'failed') this.#wantPoll();
  }

  /** The bus: anything may come, nothing may throw. What cannot be used is dropped, counted and asked for over HTTP. */
  #hear(subjectText: string, message: Uint8Array): void {
    if (this.#isClosed) return;
    const subject = findSubject(subjectText);
    if (subject === undefined) return;
    this.counters.busMessages += 1;
    const entry = this.#environments.find(subject.environmentId);
    try {
      if (entry === undefined || entry.environment.tenantId !== subject.tenantId) {
        this.#wantPoll();
        return;
      }
      if (message.length > BUS_BYTES_MAX) throw new PlatformError('payload-too-large', 'a bus message is too large');
      const isTaken =
        subject.topic === 'config'
          ? entry.offerConfig(decodeConfigMessage(message))
          : entry.offerAccess(decodeSigned(message).signed);
      if (!isTaken) this.#wantPoll();
    } catch (error) {
      this.counters.busRefused += 1;
      this.#logger.warn({ err: error, subject: subjectText }, 'a bus message was dropped');
      this.#wantPoll();
    }
  }

  /** Brings the next poll forward. */
  #wantPoll(): void {
    this.#isPollWanted = true;
    if (this.#running !== undefined || this.#isClosed) return;
    this.#schedule(Math.max(0, this.#lastPollAtMs + POLL_SPACING_MS - performance.now()));
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#running = this.#poll().finally(() => {
        this.#running = undefined;
      });
    }, delayMs);
  }

  async #poll(): Promise<void> {
    this.#isPollWanted = false;
    this.#lastPollAtMs = performance.now();
    this.counters.polls += 1;
    let delayMs = this.#options.pollIntervalMs * (0.8 + 0.4 * Math.random());
    try {
      await this.#refreshKeys();
      await this.#compare();
      await this.#renewSignatures();
      this.#backoff.succeeded();
      if (this.#options.source.isControlPlane) {
        await this.#lookAtLogs();
        this.#noticeCounts();
        await this.status.flush();
      }
    } catch (error) {
      this.counters.failedPolls += 1;
      delayMs = Math.min(delayMs, this.#backoff.failedMs());
      const level = this.#backoff.failureCount === 1 ? 'warn' : 'debug';
      if (!this.#isClosed) this.#logger[level]({ err: error }, 'the source could not be polled');
    }
    if (this.#isPollWanted) delayMs = POLL_SPACING_MS;
    this.#schedule(delayMs);
  }

  /** A minute apart by default, as their heads are signed: an idle poll stays one small question. */
  async #lookAtLogs(): Promise<void> {
    if ((this.counters.polls - 1) % WITNESS_EVERY !== 0) return;
    const before = JSON.stringify(this.witness.status);
    await this.witness.look();
    if (JSON.stringify(this.witness.status) !== before) this.status.nodeChanged();
  }

  async #refreshKeys(): Promise<void> {
    const { trust } = this.#environments;
    if (trust.isKnown && !this.#needsKeySet && this.counters.polls % KEY_SET_EVERY !== 0) return;
    const before = trust.isKnown ? trust.keys().keySetVersion : undefined;
    await trust.refresh(this.#options.source);
    this.#needsKeySet = false;
    if (before !== undefined && before !== trust.keys().keySetVersion) this.#renewalAtPoll = this.counters.polls;
  }

  /** What the next key set or the calendar takes away is fetched again. As long as something is due it is asked for with each look at the keys. */
  async #renewSignatures(): Promise<void> {
    if (this.counters.polls < this.#renewalAtPoll) return;
    let isDue = false;
    for (const [index, entry] of this.#environments.entries.entries()) {
      if (index % RENEWALS_PER_TURN === 0) await nextTurn();
      if (!entry.reducer.isRenewalDue()) continue;
      entry.renew();
      isDue = true;
    }
    this.#renewalAtPoll = this.counters.polls + (isDue ? KEY_SET_EVERY : RENEWAL_EVERY);
  }

  async #compare(): Promise<void> {
    const { source } = this.#options;
    const theirs = await source.fetchDigests(this.#environments.digests.root());
    const mine = this.#environments.digests.bucketDigests();
    const unequal = theirs?.buckets.flatMap((digest, bucket) => (digest === mine[bucket] ? [] : [bucket])) ?? [];
    const states = unequal.length === 0 ? [] : await source.fetchBuckets(unequal);
    const behind = new Set<string>();
    for (const state of states) {
      if (!this.#follow(state)) behind.add(state.environmentId);
    }
    const absent = this.#absentFrom(new Set(unequal), states);
    if (!source.isControlPlane) for (const { environment } of absent) behind.add(environment.environmentId);
    this.#hasAnswered = true; // only now: between the two answers nothing is known of the environments (I13)
    const nowMs = performance.now();
    for (const { environment, slot } of this.#environments.entries) {
      if (!behind.has(environment.environmentId)) slot.confirmedAtMs = nowMs;
    }
    this.#options.onConfirmed?.(behind);
    await this.#forgetAbsent(absent);
  }

  /** True when this node has what `state` says. */
  #follow(state: EnvironmentState): boolean {
    const environment: EnvironmentRef = {
      tenantId: state.tenantId,
      projectId: state.projectId,
      environmentId: state.environmentId,
    };
    const entry = this.#environments.take(environment);
    if (!isSameEnvironment(entry.environment, environment)) {
      this.#logger.error({ environment, known: entry.environment }, 'an environment id names two environments');
      return true;
    }
    entry.absentCount = 0;
    return entry.sync(state);
  }

  #absentFrom(buckets: ReadonlySet<number>, states: readonly EnvironmentState[]): EnvironmentEntry[] {
    const named = new Set<string>(states.map(({ environmentId }) => environmentId));
    return this.#environments.entries.filter(
      ({ environment: { environmentId } }) =>
        buckets.has(bucketOfEnvironment(environmentId)) && !named.has(environmentId),
    );
  }

  async #forgetAbsent(absent: readonly EnvironmentEntry[]): Promise<void> {
    // A control plane that has lost everything is not one that says that there is nothing (I13).
    if (absent.length === this.#environments.size) return;
    for (const entry of absent) {
      entry.absentCount += 1;
      if (entry.absentCount < ABSENT_POLLS_MAX) continue;
      // Nobody signs that an environment is gone; that all its keys were revoked, somebody has.
      if (!this.#options.source.isControlPlane && isInUse(entry)) continue;
      this.#environments.delete(entry);
      await entry.idle();
      await entry.reducer.remove();
      this.status.changed(entry.environment.environmentId);
      this.#logger.info({ environment: entry.environment }, 'environment removed');
    }
  }

  #reportOf({ environment, slot, reducer }: EnvironmentEntry): EnvironmentReport {
    const counts = this.#countsOf(slot);
    this.#reportedCounts.set(slot, JSON.stringify(counts));
    return {
      ...environment,
      ...reducer.standing,
      ...counts,
      quarantined: reducer.quarantine.map(({ epoch, revision, digest, reason }) => ({
        epoch,
        revision,
        digest,
        reason,
      })),
    };
  }

  #countsOf(slot: EnvironmentSlot): Pick<EnvironmentReport, 'streams' | 'answers'> {
    const { streams, canary } = this.#options;
    const count = streams.countOf(slot);
    return {
      ...(count === 0 ? {} : { streams: count }),
      ...(canary === undefined ? {} : { answers: canary.answersOf(slot) }),
    };
  }

  /** Told with the next report: streams come and go too often for one each. */
  #noticeCounts(): void {
    for (const { environment, slot } of this.#environments.entries) {
      const isOther = JSON.stringify(this.#countsOf(slot)) !== (this.#reportedCounts.get(slot) ?? '{}');
      if (isOther) this.status.countsChanged(environment.environmentId);
    }
  }
}

function isInUse({ slot }: EnvironmentEntry): boolean {
  return slot.accessList?.entries.some(({ revoked }) => !revoked) === true;
}
