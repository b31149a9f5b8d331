import type { FlagDefinition, FlagSet } from '../flag-model/definitions.js';
import type { Result } from '../flag-model/result.js';
import { type ContextKinds, readContext } from './context.js';
import type { Explanation, FlagTrace } from './explanation.js';
import { errorResult, evaluateAskedFlag, type Session } from './flag.js';
import { PatternCache } from './regex.js';
import { SegmentIndex } from './segment-index.js';
import { Tracer } from './tracer.js';

export interface EvaluationOptions {
  /** Epoch milliseconds, an integer: what `@now` stands for. One for all results of a request. */
  readonly now: number;
  /** The asker has a client (`web`) credential: only `clientSide` flags exist for it. */
  readonly clientSideOnly?: boolean;
}

/** Made once per flag set, dropped with it. */
interface Prepared {
  readonly segments: SegmentIndex;
  readonly patterns: PatternCache;
}
const prepared = new WeakMap<FlagSet, Prepared>();

/**
 * The reference evaluator: the specification in plain TypeScript. One object evaluates flags for one context at one instant and
 * remembers what it has evaluated. Never throws, never reads clock, random, locale or network.
 *
 * `flagSet` has passed `parseDefinition` and `checkFlagSet` and is not changed afterwards; `context` is a value as decoded from
 * JSON or msgpack.
 */
export class ReferenceEvaluation {
  readonly #flagSet: FlagSet;
  readonly #options: EvaluationOptions;
  readonly #kinds: ContextKinds | undefined;
  readonly #session: Session | undefined;

  constructor(flagSet: FlagSet, context: unknown, options: EvaluationOptions) {
    this.#flagSet = flagSet;
    this.#options = options;
    this.#kinds = readContext(context);
    this.#session = this.#kinds && this.#makeSession(this.#kinds, new Tracer(false), []);
  }

  evaluate(flagKey: string): Result {
    if (this.#session === undefined) return errorResult(flagKey, 'INVALID_CONTEXT');
    const flag = this.#findVisibleFlag(flagKey);
    return flag === undefined ? errorResult(flagKey, 'FLAG_NOT_FOUND') : evaluateAskedFlag(flag, this.#session);
  }

  /** Every flag that the asker may see, sorted by key bytes. */
  evaluateAllVisible(): Result[] {
    const keys = [...this.#flagSet.flags.keys()].filter((key) => this.#findVisibleFlag(key) !== undefined);
    return keys.sort().map((key) => this.evaluate(key)); // keys are ASCII: any order is byte order
  }

  /** Evaluates again, from nothing, and tells every step. */
  explain(flagKey: string): Explanation {
    const { now } = this.#options;
    if (this.#kinds === undefined) return explainUnfound(flagKey, now, 'INVALID_CONTEXT', 'invalid-context');
    const contextKinds = [...this.#kinds.keys()];
    const flag = this.#findVisibleFlag(flagKey);
    if (flag === undefined) return { ...explainUnfound(flagKey, now, 'FLAG_NOT_FOUND', 'not-found'), contextKinds };
    const flags: FlagTrace[] = [];
    const tracer = new Tracer(true);
    const result = evaluateAskedFlag(flag, this.#makeSession(this.#kinds, tracer, flags));
    return { result, now, contextKinds, flags, ...(tracer.isCut ? { isCut: true } : {}) };
  }

  #makeSession(kinds: ContextKinds, tracer: Tracer, flagTraces: FlagTrace[]): Session {
    const { now, clientSideOnly = false } = this.#options;
    const { segments, patterns } = prepare(this.#flagSet);
    const flagSet = this.#flagSet;
    return { flagSet, segments, patterns, kinds, now, clientSideOnly, tracer, flagTraces, outcomes: new Map() };
  }

  #findVisibleFlag(flagKey: string): FlagDefinition | undefined {
    const flag = this.#flagSet.flags.get(flagKey);
    return this.#options.clientSideOnly === true && flag?.clientSide === false ? undefined : flag;
  }
}

function prepare(flagSet: FlagSet): Prepared {
  const known = prepared.get(flagSet);
  if (known !== undefined) return known;
  const made = { segments: new SegmentIndex(flagSet), patterns: new PatternCache() };
  prepared.set(flagSet, made);
  return made;
}

function explainUnfound(
  flagKey: string,
  now: number,
  errorCode: 'INVALID_CONTEXT' | 'FLAG_NOT_FOUND',
  step: 'invalid-context' | 'not-found',
): Explanation {
  const result = errorResult(flagKey, errorCode);
  return { result, now, flags: [{ flag: flagKey, result, fuelUsed: 0, steps: [{ step }] }] };
}
