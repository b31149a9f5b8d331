import type { EnvironmentRef } from '@guidon/protocol';
import { FLAG, FLAG_ENTRY, FRAGMENT, MEMBERS, ROOT } from '../compile/layout.js';
import { ERROR, USAGE } from '../compile/thread-layout.js';
import type { ResidentSnapshot } from './load-snapshot.js';
import type { MemoryViews } from './memory-views.js';

/** How often one revision's flags were answered what, since the last drain. */
export interface RevisionUsage {
  readonly revision: number;
  readonly flags: readonly FlagUsage[];
  /** Errors of flags that are not there, or were not looked up because the context is none. */
  readonly unknown: Readonly<Partial<Record<UsageError, number>>>;
}

export interface FlagUsage {
  readonly flag: string;
  /** By key of the variation; those that were served. */
  readonly variations: Readonly<Record<string, number>>;
  readonly errors: Readonly<Partial<Record<UsageError, number>>>;
}

export type UsageError = Exclude<keyof typeof ERROR, 'NONE'>;

/** Revisions of one environment whose counts wait to be drained; of older ones only the sum of the environment is kept (I25). */
const REVISIONS_KEPT_MAX = 16;
const NO_ANSWERS = { evaluations: 0, errors: 0 } as const;
const ERROR_NAMES: readonly UsageError[] = [
  'FLAG_NOT_FOUND',
  'PARSE_ERROR',
  'TARGETING_KEY_MISSING',
  'INVALID_CONTEXT',
  'GENERAL',
];

/** Counts of one resident snapshot, all threads together. Numbers, exact up to 2^53. */
export interface SnapshotUsage {
  readonly resident: ResidentSnapshot;
  readonly counts: Float64Array;
  /** Since the last drain. */
  sum: number;
  /** Since it was loaded, drained or not. */
  readonly answers: { evaluations: number; errors: number };
  /** 1 for each counter of an error. */
  readonly isError: Uint8Array;
  /** Threads that have a block for it. */
  blockCount: number;
  /** Set when it is released while threads may be counting: from then on its own bytes may go. */
  names: readonly FlagCounters[] | undefined;
}

/** The counters of one flag, from `first`: those of errors, then one for each of `variations`. */
interface FlagCounters {
  readonly flag: string;
  readonly first: number;
  readonly variations: readonly string[];
}

/** The last member of what a variation answers in JSON, and how long it is at most: keys are at most 128 plain characters. */
const VARIATION_MEMBER = /"variation":"([^"\\]*)",$/;
const VARIATION_MEMBER_BYTES_MAX = 160;

interface EnvironmentUsage {
  evaluations: number;
  readonly live: Set<SnapshotUsage>;
  /** Oldest first, of snapshots that are no longer resident. */
  ended: RevisionUsage[];
  /** Evaluations of revisions that were dropped before anybody drained them. */
  undrained: number;
}

/** What was counted of each environment. An environment is kept as long as the process. */
export class UsageTotals {
  /** Results of calls that a killed thread had not finished: counted nowhere else. */
  lost = 0;
  readonly #views: MemoryViews;
  readonly #keepsEnded: boolean;
  readonly #environments = new Map<string, EnvironmentUsage>();
  readonly #snapshots = new Map<ResidentSnapshot, SnapshotUsage>();

  /** `keepsEnded` false: what a snapshot has answered is forgotten with it. */
  constructor(views: MemoryViews, keepsEnded: boolean) {
    this.#views = views;
    this.#keepsEnded = keepsEnded;
  }

  /** Results given for an environment since the process started, without those that wait for the next sweep. */
  evaluationsOf({ environmentId }: EnvironmentRef): number {
    return this.#environments.get(environmentId)?.evaluations ?? 0;
  }

  /** What a resident snapshot has answered since it was loaded, without what waits for the next sweep. */
  answersOf(resident: ResidentSnapshot): Readonly<SnapshotUsage['answers']> {
    return this.#snapshots.get(resident)?.answers ?? NO_ANSWERS;
  }

  /** A thread begins to count for a snapshot; `close` follows. */
  open(resident: ResidentSnapshot): SnapshotUsage {
    const usage = this.#snapshots.get(resident) ?? this.#made(resident);
    usage.blockCount += 1;
    return usage;
  }

  #made(resident: ResidentSnapshot): SnapshotUsage {
    const counts = new Float64Array(resident.counterCount);
    const usage: SnapshotUsage = {
      resident,
      counts,
      sum: 0,
      answers: { evaluations: 0, errors: 0 },
      isError: this.#errorCountersOf(resident),
      blockCount: 0,
      names: undefined,
    };
    this.#snapshots.set(resident, usage);
    this.#environment(resident.environment).live.add(usage);
    return usage;
  }

  close(usage: SnapshotUsage): void {
    usage.blockCount -= 1;
    if (usage.blockCount === 0 && usage.names !== undefined) this.#end(usage);
  }

  /** A thread answered so many more of one counter. */
  add(usage: SnapshotUsage, counter: number, count: number): void {
    usage.counts[counter] = (usage.counts[counter] ?? 0) + count;
    usage.sum += count;
    usage.answers.evaluations += count;
    if (usage.isError[counter] === 1) usage.answers.errors += count;
    this.#environment(usage.resident.environment).evaluations += count;
  }

  /** The snapshot is being released; its bytes are still there. Threads may go on to count in the calls that run. */
  release(resident: ResidentSnapshot): void {
    const usage = this.#snapshots.get(resident);
    if (usage === undefined) return;
    this.#snapshots.delete(resident);
    if (usage.blockCount === 0) this.#end(usage);
    // What the calls that run will have counted is not known yet.
    else usage.names = this.#keepsEnded ? this.#namesOf(usage, () => true) : [];
  }

  #end(usage: SnapshotUsage): void {
    const environment = this.#environment(usage.resident.environment);
    environment.live.delete(usage);
    if (this.#keepsEnded && usage.sum > 0) this.#keep(environment, this.#take(usage));
  }

  /** What was counted since the last drain, by revision; an environment without any answers []. */
  drain({ environmentId }: EnvironmentRef): RevisionUsage[] {
    const environment = this.#environments.get(environmentId);
    if (environment === undefined) return [];
    const { ended } = environment;
    environment.ended = [];
    environment.undrained = 0;
    return [...ended, ...[...environment.live].filter(({ sum }) => sum > 0).map((usage) => this.#take(usage))];
  }

  /** Evaluations whose revisions were dropped before they were drained. */
  undrainedOf({ environmentId }: EnvironmentRef): number {
    return this.#environments.get(environmentId)?.undrained ?? 0;
  }

  #environment({ environmentId }: EnvironmentRef): EnvironmentUsage {
    const known = this.#environments.get(environmentId);
    if (known !== undefined) return known;
    const made: EnvironmentUsage = { evaluations: 0, live: new Set(), ended: [], undrained: 0 };
    this.#environments.set(environmentId, made);
    return made;
  }

  /** A snapshot that leaves and comes back, as the cold ones of a full memory do, stays one revision. */
  #keep(environment: EnvironmentUsage, ended: RevisionUsage): void {
    const index = environment.ended.findIndex(({ revision }) => revision === ended.revision);
    const before = environment.ended[index];
    if (before !== undefined) {
      environment.ended[index] = merged(before, ended);
      return;
    }
    environment.ended.push(ended);
    if (environment.ended.length <= REVISIONS_KEPT_MAX) return;
    const [dropped] = environment.ended.splice(0, 1);
    if (dropped !== undefined) environment.undrained += sumOf(dropped);
  }

  /** Names what was counted and starts again from 0. */
  #take(usage: SnapshotUsage): RevisionUsage {
    const { resident, counts } = usage;
    const flags: FlagUsage[] = [];
    const isCounted = (first: number, end: number): boolean => counts.subarray(first, end).some((count) => count !== 0);
    for (const { flag, first, variations } of usage.names ?? this.#namesOf(usage, isCounted)) {
      const served = first + USAGE.errorCount;
      const counted = variations.flatMap((key, index) => {
        const count = counts[served + index] ?? 0;
        return count === 0 ? [] : [[key, count] as const];
      });
      const errors = errorsOf(counts.subarray(first, served));
      if (counted.length === 0 && Object.keys(errors).length === 0) continue;
      flags.push({ flag, variations: Object.fromEntries(counted), errors });
    }
    const taken = { revision: resident.revision, flags, unknown: errorsOf(counts) };
    counts.fill(0);
    usage.sum = 0;
    return taken;
  }

  #errorCountersOf(resident: ResidentSnapshot): Uint8Array {
    const { view } = this.#views;
    const isError = new Uint8Array(resident.counterCount).fill(1, 0, USAGE.errorCount);
    const flags = resident.address + view.getUint32(resident.address + ROOT.flags, true);
    for (let index = 0; index < resident.flagCount; index += 1) {
      const first = view.getUint32(flags + index * FLAG_ENTRY.bytes + FLAG_ENTRY.counter, true);
      isError.fill(1, first, first + USAGE.errorCount);
    }
    return isError;
  }

  /** Of the flags whose counters [first, end) are `wanted`. */
  #namesOf({ resident, counts }: SnapshotUsage, wanted: (first: number, end: number) => boolean): FlagCounters[] {
    const { view, text } = this.#views;
    const flags = resident.address + view.getUint32(resident.address + ROOT.flags, true);
    const names: FlagCounters[] = [];
    for (let index = 0; index < resident.flagCount; index += 1) {
      const entry = flags + index * FLAG_ENTRY.bytes;
      const first = view.getUint32(entry + FLAG_ENTRY.counter, true);
      const isLast = index + 1 === resident.flagCount;
      const end = isLast ? counts.length : view.getUint32(entry + FLAG_ENTRY.bytes + FLAG_ENTRY.counter, true);
      if (!wanted(first, end)) continue;
      const block = resident.blocks[view.getUint32(entry + FLAG_ENTRY.block, true)]?.address ?? 0;
      const key = block + view.getUint32(block + FLAG.keyOffset, true);
      names.push({
        flag: text.toString('utf8', key, key + view.getUint32(block + FLAG.keyBytes, true)),
        first,
        variations: this.#variationsOf(block, end - first - USAGE.errorCount),
      });
    }
    return names;
  }

  /** A snapshot holds the keys of variations only in what they answer. A damaged one that passes as sound may not: its index stands in then. */
  #variationsOf(block: number, count: number): string[] {
    const { view, text } = this.#views;
    const members = block + view.getUint32(block + FLAG.variations, true);
    return Array.from({ length: count }, (_, index) => {
      const json = members + index * MEMBERS.bytes + MEMBERS.json;
      const bytes = view.getUint32(json + FRAGMENT.length, true);
      const end = block + view.getUint32(json + FRAGMENT.offset, true) + bytes;
      const tail = text.toString('latin1', end - Math.min(bytes, VARIATION_MEMBER_BYTES_MAX), end);
      return VARIATION_MEMBER.exec(tail)?.[1] ?? String(index);
    });
  }
}

function merged(a: RevisionUsage, b: RevisionUsage): RevisionUsage {
  const flags = new Map(a.flags.map((usage) => [usage.flag, usage]));
  for (const usage of b.flags) {
    const { flag, variations, errors } = flags.get(usage.flag) ?? { flag: usage.flag, variations: {}, errors: {} };
    const keys = new Set([...Object.keys(variations), ...Object.keys(usage.variations)]);
    flags.set(flag, {
      flag,
      variations: Object.fromEntries(
        [...keys].map((key) => [key, (variations[key] ?? 0) + (usage.variations[key] ?? 0)]),
      ),
      errors: mergedErrors(errors, usage.errors),
    });
  }
  return { revision: a.revision, flags: [...flags.values()], unknown: mergedErrors(a.unknown, b.unknown) };
}

function mergedErrors(a: FlagUsage['errors'], b: FlagUsage['errors']): FlagUsage['errors'] {
  const names = ERROR_NAMES.filter((name) => a[name] !== undefined || b[name] !== undefined);
  return Object.fromEntries(names.map((name) => [name, (a[name] ?? 0) + (b[name] ?? 0)]));
}

/** Of counters that begin with those of errors. */
function errorsOf(counts: Float64Array): FlagUsage['errors'] {
  const entries = ERROR_NAMES.flatMap((name) => {
    const count = counts[ERROR[name] - 1] ?? 0;
    return count === 0 ? [] : [[name, count] as const];
  });
  return Object.fromEntries(entries);
}

function sumOf({ flags, unknown }: RevisionUsage): number {
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  const ofFlag = ({ variations, errors }: FlagUsage): number =>
    sum(Object.values(variations)) + sum(Object.values(errors));
  return sum(flags.map(ofFlag)) + sum(Object.values(unknown));
}
