import { createHash } from 'node:crypto';
import type { EnvironmentRef } from '@guidon/protocol';
import type { EventContext, ExposureEvent } from '@guidon/protocol/events';
import type { StoreTransaction } from '../store/control-store.js';
import { keys } from '../store/keys.js';
import { DAY_MS, MINUTE_MS } from './usage-rows.js';

/** How long it is remembered at least, and at most twice as long, what somebody was exposed to. */
export const PERIOD_MS = 7 * DAY_MS;
/** Subjects that one period remembers of an environment; metric events of others belong to no variation. */
export const SUBJECTS_MAX = 200_000;
/** Flags that are remembered of one subject; the longest unseen goes. */
export const FLAGS_PER_SUBJECT_MAX = 50;
/** Of a context of several kinds. */
const KINDS_MAX = 4;
/** So much earlier than its exposure an event may be and still count: clocks differ. */
const CLOCK_TOLERANCE_MS = MINUTE_MS;

/** A flag with its last variation, and the one before that: events arrive late, and out of order. Times are epoch milliseconds. */
type Exposed = readonly [flag: string, at: number, variation: string, atBefore?: number, variationBefore?: string];
/** The row under `keys.exposedSubject`. */
export type ExposedRow = readonly Exposed[];
/** The row under `keys.exposedCount`. */
export interface ExposedCount {
  readonly subjects: number;
}

/**
 * Who was exposed to which variations, inside one transaction: rows are read once, and written by `write`. Subjects are hashes of kind and
 * targeting key, each kind of a context by itself.
 */
export class ExposedSubjects {
  readonly #transaction: StoreTransaction;
  readonly #environment: EnvironmentRef;
  readonly #period: number;
  readonly #rows = new Map<string, ExposedRow>();
  readonly #changed = new Set<string>();

  constructor(transaction: StoreTransaction, environment: EnvironmentRef, now: number) {
    this.#transaction = transaction;
    this.#environment = environment;
    this.#period = Math.floor(now / PERIOD_MS);
  }

  expose({ flag, variation, context }: ExposureEvent, at: number): void {
    for (const subject of subjectsOf(context)) {
      const row = this.#read(subject);
      const known = row.find(([name]) => name === flag);
      const next = exposedAt(known, [flag, at, variation], this.#period * PERIOD_MS);
      if (next === known) continue;
      const others = row.filter(([name]) => name !== flag);
      if (others.length >= FLAGS_PER_SUBJECT_MAX) others.splice(indexOfOldest(others), 1);
      this.#rows.set(subject, [...others, next]);
      this.#changed.add(subject);
    }
  }

  /** By flag, what somebody had been exposed to at an instant. */
  variationsAt(context: EventContext, at: number): Map<string, string> {
    const variations = new Map<string, string>();
    for (const subject of subjectsOf(context)) {
      for (const exposed of this.#read(subject)) {
        const variation = variationAt(exposed, at);
        if (variation !== undefined && !variations.has(exposed[0])) variations.set(exposed[0], variation);
      }
    }
    return variations;
  }

  write(): void {
    if (this.#changed.size === 0) return;
    const countKey = keys.exposedCount(this.#environment, this.#period);
    const before = this.#transaction.find<ExposedCount>(countKey)?.subjects ?? 0;
    let subjects = before;
    for (const subject of this.#changed) {
      const key = keys.exposedSubject(this.#environment, this.#period, subject);
      if (!this.#transaction.has(key)) {
        if (subjects >= SUBJECTS_MAX) continue;
        subjects += 1;
      }
      this.#transaction.put(key, this.#rows.get(subject) ?? []);
    }
    if (subjects !== before) this.#transaction.put(countKey, { subjects } satisfies ExposedCount);
  }

  /** What a period does not know yet it goes on with from the one before. */
  #read(subject: string): ExposedRow {
    const known = this.#rows.get(subject);
    if (known !== undefined) return known;
    const rowOf = (period: number): ExposedRow | undefined =>
      this.#transaction.find<ExposedRow>(keys.exposedSubject(this.#environment, period, subject));
    const earliest = (this.#period - 1) * PERIOD_MS;
    const row = rowOf(this.#period) ?? (rowOf(this.#period - 1) ?? []).filter(([, at]) => at >= earliest);
    this.#rows.set(subject, row);
    return row;
  }
}

/** `known` itself when nothing new is learned. What is told again, and was told last before `periodStart`, is remembered on from then. */
function exposedAt(
  known: Exposed | undefined,
  told: readonly [flag: string, at: number, variation: string],
  periodStart: number,
): Exposed {
  if (known === undefined) return told;
  const [flag, at, variation, atBefore = 0, variationBefore] = known;
  const [, toldAt, toldVariation] = told;
  if (toldAt >= at) return toldVariation === variation && at >= periodStart ? known : [...told, at, variation];
  // It comes late: of the time before the newest.
  if (toldAt <= atBefore) return known;
  if (toldVariation !== variation) return [flag, at, variation, toldAt, toldVariation];
  return variationBefore === undefined ? told : [flag, toldAt, variation, atBefore, variationBefore];
}

function variationAt([, exposedSince, variation, , variationBefore]: Exposed, at: number): string | undefined {
  if (at >= exposedSince) return variation;
  if (variationBefore !== undefined) return variationBefore;
  return exposedSince - at <= CLOCK_TOLERANCE_MS ? variation : undefined;
}

function indexOfOldest(row: readonly Exposed[]): number {
  return row.reduce((oldest, [, at], index) => (at < (row[oldest]?.[1] ?? 0) ? index : oldest), 0);
}

/** A person by his key alone is the same as one by the kind that is the default. */
function subjectsOf(context: EventContext): string[] {
  const { kind: only = 'user', targetingKey } = context;
  if (only !== 'multi' && typeof targetingKey === 'string') return [hashOf(only, targetingKey)];
  return Object.entries(context)
    .flatMap(([kind, member]) => (typeof member === 'object' ? [hashOf(kind, member.targetingKey)] : []))
    .slice(0, KINDS_MAX);
}

function hashOf(kind: string, targetingKey: string): string {
  return createHash('sha256')
    .update(JSON.stringify([kind, targetingKey]))
    .digest('base64url')
    .slice(0, 22);
}
