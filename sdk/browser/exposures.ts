import type { Event, EventContext } from '@guidon/protocol/events';
import { type Context, type EventIds, type FlagDetails, findEventContext, isEventName } from '@guidon/sdk-core';

/** Flags told for one context, and unknown flags counted between two sendings; over it none is remembered, so some are told twice. */
const REMEMBERED_MAX = 2_000;
const UNKNOWN_MAX = 200;

/** Turns the use of flags into events: an exposure whenever a flag serves a context another variation, and how often flags were asked for that are not there. */
export class Exposures {
  readonly #ids: EventIds;
  readonly #add: (event: Event) => void;
  /** The variation told last, by flag. */
  readonly #told = new Map<string, string>();
  readonly #unknown = new Map<string, number>();
  #unknownSince = 0;
  #context: EventContext | undefined;

  constructor(ids: EventIds, add: (event: Event) => void) {
    this.#ids = ids;
    this.#add = add;
  }

  /** What was told of another context is not told of this one. */
  setContext(context: Context): void {
    this.#context = findEventContext(context);
    this.#told.clear();
  }

  /** Whom events are about; undefined: nobody who could be told from others. */
  get context(): EventContext | undefined {
    return this.#context;
  }

  used(flag: string, { variation, reason, ruleId, inExperiment, revision, errorCode }: FlagDetails): void {
    if (errorCode === 'FLAG_NOT_FOUND') this.#missed(flag);
    if (variation === undefined || this.#context === undefined) return;
    if (this.#told.get(flag) === variation) return;
    if (this.#told.size >= REMEMBERED_MAX) this.#told.clear();
    this.#told.set(flag, variation);
    this.#add({
      id: this.#ids.next(),
      kind: 'exposure',
      at: Date.now(),
      flag,
      variation,
      reason,
      ...(ruleId === undefined ? {} : { ruleId }),
      ...(inExperiment === undefined ? {} : { inExperiment }),
      revision,
      context: this.#context,
    });
  }

  /** Makes an event of the flags that were asked for and are not there. */
  sum(): void {
    if (this.#unknown.size === 0) return;
    const counts = Array.from(this.#unknown, ([flag, count]) => ({
      flag,
      variation: null,
      errorCode: 'FLAG_NOT_FOUND',
      count,
    }));
    this.#add({ id: this.#ids.next(), kind: 'summary', from: this.#unknownSince, to: Date.now(), counts });
    this.#unknown.clear();
  }

  #missed(flag: string): void {
    const count = this.#unknown.get(flag);
    if (!isEventName(flag) || (count === undefined && this.#unknown.size >= UNKNOWN_MAX)) return;
    if (this.#unknown.size === 0) this.#unknownSince = Date.now();
    this.#unknown.set(flag, (count ?? 0) + 1);
  }
}
