import type { Json } from '../json.js';

/**
 * What a client tells of evaluations. Carried at least once: whoever sends an event again sends it with the same `id`, and the control plane
 * counts it once (see docs/events.md for the window).
 */
export type Event = ExposureEvent | MetricEvent | SummaryEvent;

interface EventBase {
  /** 16 to 40 characters of [A-Za-z0-9_-], random enough to be its sender's alone: made once, kept over retries. */
  readonly id: string;
}

/** Somebody was served a variation, and it was used. */
export interface ExposureEvent extends EventBase {
  readonly kind: 'exposure';
  /** Epoch milliseconds, of the sender's clock. */
  readonly at: number;
  readonly flag: string;
  readonly variation: string;
  readonly reason?: string;
  readonly ruleId?: string;
  /** That of the environment when it was evaluated. */
  readonly revision?: number;
  readonly inExperiment?: boolean;
  readonly context: EventContext;
}

/** Something happened that an experiment may measure. */
export interface MetricEvent extends EventBase {
  readonly kind: 'metric';
  readonly at: number;
  readonly key: string;
  readonly value?: number;
  readonly context: EventContext;
  readonly data?: Json;
}

/** How often flags were evaluated between two instants, without saying for whom. */
export interface SummaryEvent extends EventBase {
  readonly kind: 'summary';
  readonly from: number;
  readonly to: number;
  readonly counts: readonly SummaryCount[];
}

export interface SummaryCount {
  /** As it was asked for: it need not exist. */
  readonly flag: string;
  /** Null: none was served; then `errorCode` says why. */
  readonly variation: string | null;
  readonly reason?: string;
  /** `FLAG_NOT_FOUND` names a flag that was asked for and is not there. */
  readonly errorCode?: string;
  readonly revision?: number;
  readonly count: number;
}

/** Who it was, and nothing else of the context: one kind (default `user`), or several by name. */
export type EventContext = SingleEventContext | MultiEventContext;
export interface SingleEventContext {
  readonly kind?: string;
  readonly targetingKey: string;
}
export interface MultiEventContext {
  readonly kind: 'multi';
  readonly [kind: string]: 'multi' | { readonly targetingKey: string };
}

/** The library that sends the batch. */
export interface SdkIdentity {
  readonly name: string;
  readonly version: string;
}

/** The body of `POST /v1/events`. */
export interface EventBatch {
  readonly sdk?: SdkIdentity;
  readonly events: readonly Event[];
}

/** The answer, 202: what was not taken is wrong and must not be sent again. */
export interface EventsAnswer {
  readonly accepted: number;
  readonly refused: readonly RefusedEvent[];
}

export interface RefusedEvent {
  /** In `events` of the batch. */
  readonly index: number;
  readonly code: 'validation-failed' | 'limit-exceeded';
  /** JSON pointer into the batch. */
  readonly pointer: string;
  readonly detail: string;
}
