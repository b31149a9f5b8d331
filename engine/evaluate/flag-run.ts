import { FLAG_FUEL } from '@guidon/protocol';
import type { FlagSet } from '../flag-model/definitions.js';
import type { EvaluationErrorCode } from '../flag-model/result.js';
import { findAtPath, isTargetingKeyPath, parseAttributePath } from './attribute-path.js';
import type { ContextKinds } from './context.js';
import type { SegmentTrace, StopReason } from './explanation.js';
import type { PatternCache } from './regex.js';
import type { SegmentIndex } from './segment-index.js';
import type { Tracer } from './tracer.js';

/** What the evaluation of one flag works with. */
export interface FlagRun {
  readonly flagSet: FlagSet;
  readonly segments: SegmentIndex;
  readonly patterns: PatternCache;
  readonly kinds: ContextKinds;
  /** Epoch milliseconds. */
  readonly now: number;
  readonly fuel: Fuel;
  readonly tracer: Tracer;
  /** Conditions look into segments and segments hold conditions; this member keeps the two files apart. */
  readonly lookIntoSegment: (run: FlagRun, key: string, depth: number, traces: SegmentTrace[]) => boolean;
}

/** Ends the evaluation of one flag with an error result. Never leaves this folder. */
export class EvaluationStop extends Error {
  readonly errorCode: EvaluationErrorCode;
  readonly why: StopReason;
  readonly at: string | undefined;

  constructor(errorCode: EvaluationErrorCode, why: StopReason, at?: string) {
    super(why);
    this.errorCode = errorCode;
    this.why = why;
    this.at = at;
  }
}

/** What costs how much stands in docs/evaluation.md. */
export class Fuel {
  #left: number = FLAG_FUEL;

  get used(): number {
    return FLAG_FUEL - this.#left;
  }

  /** Called before the step that costs. Spending exactly the rest is fine. */
  spend(cost: number): void {
    if (cost > this.#left) throw new EvaluationStop('GENERAL', 'fuel');
    this.#left -= cost;
  }
}

/**
 * The value of an attribute of one kind; undefined when the kind or the attribute is missing, which null and an empty targeting key
 * are too. The member `kind` is no attribute: clauses ask for the context's kinds instead.
 */
export function findAttribute(kinds: ContextKinds, contextKind: string, attribute: string): unknown {
  const path = parseAttributePath(attribute);
  const context = kinds.get(contextKind);
  if (path === undefined || context === undefined || path[0] === 'kind') return undefined;
  const value = findAtPath(context, path);
  if (value === null || (value === '' && isTargetingKeyPath(path))) return undefined;
  return typeof value === 'bigint' ? Number(value) : value;
}
