import type { Result } from '@guidon/engine/in-process';
import type { Event, SummaryCount } from '@guidon/protocol/events';
import { type Context, type EventIds, findEventContext, isEventName } from '@guidon/sdk-core';

interface Counter {
  readonly result: Result;
  readonly revision: number;
  /** Assignments of experiments are told one by one. */
  readonly isExposed: boolean;
  count: number;
}

/** Different answers counted between two flushes; beyond it nothing new is counted (I25), and `uncounted` says how often. */
const COUNTER_COUNT_MAX = 20_000;
const COUNTS_PER_SUMMARY = 200;
/** Exposures that have been told are remembered, and told again when the memory has been emptied, at its bound and after a day. */
const TOLD_COUNT_MAX = 50_000;
const TOLD_MS = 24 * 3_600_000;

/**
 * Counts what was evaluated, for summaries, and makes exposures of experiments, whenever a flag serves a subject another variation. It runs in each evaluation, so
 * the usual case is one look-up by identity: the evaluator gives the same answer as the same object.
 */
export class Usage {
  readonly #ids: EventIds;
  readonly #add: (event: Event) => void;
  readonly #served = new Map<Result, Counter>();
  readonly #failed = new Map<string, Counter>();
  /** The variation told last, by flag and subject. */
  readonly #told = new Map<string, string>();
  #toldSinceMs = Date.now();
  #last: Counter | undefined;
  #sinceMs = Date.now();
  #uncounted = 0;

  constructor(ids: EventIds, add: (event: Event) => void) {
    this.#ids = ids;
    this.#add = add;
  }

  /** Evaluations that no summary tells of: too many different ones, or of what can be no flag's key. */
  get uncounted(): number {
    return this.#uncounted;
  }

  count(result: Result, revision: number, context: Context): void {
    const counter = this.#last?.result === result ? this.#last : this.#counterOf(result, revision);
    if (counter === undefined) return;
    counter.count += 1;
    if (counter.isExposed) this.#expose(counter, context);
  }

  /** Makes events of what was counted since the last time. */
  sum(): void {
    const fromMs = this.#sinceMs;
    this.#sinceMs = Date.now();
    if (this.#sinceMs - this.#toldSinceMs >= TOLD_MS) {
      this.#told.clear();
      this.#toldSinceMs = this.#sinceMs;
    }
    const counts = [...this.#served.values(), ...this.#failed.values()].map(countOf);
    this.#served.clear();
    this.#failed.clear();
    this.#last = undefined;
    for (let from = 0; from < counts.length; from += COUNTS_PER_SUMMARY) {
      const part = counts.slice(from, from + COUNTS_PER_SUMMARY);
      this.#add({
        id: this.#ids.next(),
        kind: 'summary',
        from: Math.min(fromMs, this.#sinceMs),
        to: this.#sinceMs,
        counts: part,
      });
    }
  }

  #counterOf(result: Result, revision: number): Counter | undefined {
    // Errors are made each time.
    const isServed = result.reason !== 'ERROR';
    const name = isServed ? '' : `${result.errorCode}\n${result.flag}`;
    let counter = isServed ? this.#served.get(result) : this.#failed.get(name);
    if (counter === undefined) {
      if (this.#served.size + this.#failed.size >= COUNTER_COUNT_MAX || !isEventName(result.flag)) {
        this.#uncounted += 1;
        return undefined;
      }
      counter = { result, revision, isExposed: isServed && result.inExperiment === true, count: 0 };
      if (isServed) this.#served.set(result, counter);
      else this.#failed.set(name, counter);
    }
    if (isServed) this.#last = counter;
    return counter;
  }

  #expose({ result, revision }: Counter, context: Context): void {
    if (result.reason === 'ERROR') return;
    const subject = findEventContext(context);
    if (subject === undefined) return;
    const { flag, variation, reason, ruleId } = result;
    const name = `${flag}\n${JSON.stringify(subject)}`;
    if (this.#told.get(name) === variation) return;
    if (this.#told.size >= TOLD_COUNT_MAX) this.#told.clear();
    this.#told.set(name, variation);
    this.#add({
      id: this.#ids.next(),
      kind: 'exposure',
      at: Date.now(),
      flag,
      variation,
      reason,
      ...(ruleId === undefined ? {} : { ruleId }),
      revision,
      inExperiment: true,
      context: subject,
    });
  }
}

function countOf({ result, revision, count }: Counter): SummaryCount {
  return result.reason === 'ERROR'
    ? { flag: result.flag, variation: null, reason: 'ERROR', errorCode: result.errorCode, revision, count }
    : { flag: result.flag, variation: result.variation, reason: result.reason, revision, count };
}
