import type { EventMessage, ExposureEvent, MetricEvent, SummaryEvent } from '@guidon/protocol/events';
import {
  ALL_FLAGS,
  addCount,
  type Counts,
  MINUTE_MS,
  MINUTES_KEPT_MS,
  ORIGIN_LETTERS,
  sumOfCounts,
} from './usage-rows.js';

/** An exposure or a metric event as the event log has it. */
export type LoggedEvent = (ExposureEvent | MetricEvent) & Pick<EventMessage, 'origin' | 'receivedAt'>;

/** What the events of one environment add up to before anything is read or written: pure, so that it is easy to test and quick inside a transaction. */
export class EventTally {
  /** By flag, then by minute since 1970. */
  readonly buckets = new Map<string, Map<number, Counts>>();
  readonly flags = new Map<string, { evaluations: number; errors: number; exposures: number }>();
  readonly unknown = new Map<string, number>();
  readonly senders = new Map<string, number>();
  readonly logged: LoggedEvent[] = [];
  readonly #isFlag: (key: string) => boolean;
  readonly #now: number;

  constructor(isFlag: (key: string) => boolean, now: number) {
    this.#isFlag = isFlag;
    this.#now = now;
  }

  add(message: EventMessage, event: EventMessage['events'][number]): void {
    if (event.kind === 'summary') this.#addSummary(message, event);
    else if (event.kind === 'exposure') this.#addExposure(message, event);
    else {
      this.#log(message, event);
      this.#count(ALL_FLAGS, event.at, 'm:', 1);
    }
  }

  /** Once per message, however many events of it are new. */
  addSender({ origin, sdk }: EventMessage, count: number): void {
    if (sdk === undefined || count === 0) return;
    const sender = JSON.stringify([sdk.name, sdk.version, origin]);
    this.senders.set(sender, (this.senders.get(sender) ?? 0) + count);
  }

  #addSummary({ origin }: EventMessage, { to, counts }: SummaryEvent): void {
    const letter = ORIGIN_LETTERS[origin];
    for (const { flag, variation, errorCode, count } of counts) {
      if (!this.#isFlag(flag)) {
        this.#addUnknown(flag, count, to, letter);
        continue;
      }
      const outcome = variation === null ? `!${errorCode ?? 'GENERAL'}` : `:${variation}`;
      this.#count(flag, to, letter + outcome, count);
      this.#count(ALL_FLAGS, to, variation === null ? letter + outcome : `${letter}:`, count);
      // A client's own summary counts again what a node has counted for it.
      if (origin === 'web') continue;
      const usage = this.#flag(flag);
      if (variation === null) usage.errors = sumOfCounts(usage.errors, count);
      else usage.evaluations = sumOfCounts(usage.evaluations, count);
    }
  }

  #addUnknown(flag: string, count: number, at: number, letter: string): void {
    this.unknown.set(flag, sumOfCounts(this.unknown.get(flag) ?? 0, count));
    this.#count(ALL_FLAGS, at, `${letter}!FLAG_NOT_FOUND`, count);
  }

  #addExposure(message: EventMessage, event: ExposureEvent): void {
    if (!this.#isFlag(event.flag)) {
      this.unknown.set(event.flag, (this.unknown.get(event.flag) ?? 0) + 1);
      return;
    }
    this.#log(message, event);
    this.#count(event.flag, event.at, `x:${event.variation}`, 1);
    this.#count(ALL_FLAGS, event.at, 'x:', 1);
    this.#flag(event.flag).exposures += 1;
  }

  #log({ origin, receivedAt }: EventMessage, event: ExposureEvent | MetricEvent): void {
    this.logged.push({ ...event, origin, receivedAt });
  }

  #flag(key: string): { evaluations: number; errors: number; exposures: number } {
    const known = this.flags.get(key);
    if (known !== undefined) return known;
    const made = { evaluations: 0, errors: 0, exposures: 0 };
    this.flags.set(key, made);
    return made;
  }

  #count(flag: string, at: number, name: string, count: number): void {
    const minutes = this.buckets.get(flag) ?? new Map<number, Counts>();
    this.buckets.set(flag, minutes);
    const minute = Math.floor(countedAt(at, this.#now) / MINUTE_MS);
    const counts = minutes.get(minute) ?? {};
    minutes.set(minute, counts);
    addCount(counts, name, count);
  }
}

/** Clocks of clients are wrong by years: what cannot be is counted where it can just be. */
export function countedAt(at: number, now: number): number {
  return Math.min(Math.max(at, now - MINUTES_KEPT_MS + MINUTE_MS), now);
}
