import { FLAG_FUEL } from '@guidon/protocol';
import { type ContextObject, isObject, ownMember, toScalarContext } from '../evaluate/context.js';
import { EvaluationStop } from '../evaluate/flag-run.js';
import type { EvaluationOptions } from '../evaluate/reference-evaluation.js';
import type { PatternCache } from '../evaluate/regex.js';
import type { Result } from '../flag-model/result.js';
import { toScalarText } from '../flag-model/text.js';
import { isWithinLimits } from './context-limits.js';

/** A flag, built. Belongs to its definition alone, so it lives as long as that does, through any number of revisions. */
export interface BuiltFlag {
  readonly key: string;
  readonly isOn: boolean;
  readonly clientSide: boolean;
  /** The answer as if asked itself. `depth` counts edges from the asked flag. Throws nothing. */
  evaluate(run: Run, depth: number): Result;
}

/** A segment of one revision: the built definition together with its key lists. */
export interface BuiltSegment {
  /** Throws an EvaluationStop where the flag that asks cannot go on. */
  holds(run: Run): boolean;
}

/** One object, so that no stack is walked when an evaluation runs out of fuel. */
const OUT_OF_FUEL = new EvaluationStop('GENERAL', 'fuel');

/** Counts evaluations of the whole thread: what slots and flags remember is of the context with the same number. */
const clock = { generation: 0 };

const ABANDONED = -1;

/** The state of the evaluation that runs. One per evaluator; used again for every context, so it allocates nothing. */
export class Run {
  readonly flags: ReadonlyMap<string, BuiltFlag>;
  readonly segments: ReadonlyMap<string, BuiltSegment>;
  readonly patterns: PatternCache;
  /** Some definition names U+FFFD, so that a lone surrogate of a context, which reads as U+FFFD, could match it. */
  readonly #namesReplacement: boolean;
  generation = 0;
  /** What is left of the tank of the flag that is evaluated. */
  fuel: number = FLAG_FUEL;
  /** At which depth a segment named by the condition that is evaluated would be. */
  segmentDepth = 0;
  now = 0;
  clientSideOnly = false;
  #context: ContextObject = {};
  #kind = '';

  constructor(
    flags: ReadonlyMap<string, BuiltFlag>,
    segments: ReadonlyMap<string, BuiltSegment>,
    patterns: PatternCache,
    namesReplacement: boolean,
  ) {
    this.flags = flags;
    this.segments = segments;
    this.patterns = patterns;
    this.#namesReplacement = namesReplacement;
  }

  /** Answers whether the context can be evaluated: `readContext` of the reference, without building anything. */
  begin(context: unknown, options: EvaluationOptions): boolean {
    this.generation = ++clock.generation;
    this.now = options.now;
    this.clientSideOnly = options.clientSideOnly === true;
    if (!isObject(context)) return false;
    try {
      if (!isWithinLimits(context)) return false;
      this.#context = this.#namesReplacement ? toScalarContext(context) : context;
      const kind = this.#context.kind === undefined ? 'user' : (ownMember(this.#context, 'kind') ?? 'user');
      if (typeof kind !== 'string' || kind === '') return false;
      this.#kind = kind;
      return true;
    } catch {
      return false; // an accessor or a proxy that throws: no data
    }
  }

  /** The context could not be read after all: whatever is being evaluated is INVALID_CONTEXT. */
  abandon(): void {
    this.generation = ABANDONED;
  }

  /** Called before the step that costs. Spending exactly the rest is fine. */
  spend(cost: number): void {
    if (cost > this.fuel) throw OUT_OF_FUEL;
    this.fuel -= cost;
  }

  /** What is known of one kind. */
  objectOf(contextKind: string): ContextObject | undefined {
    if (this.#kind !== 'multi') return this.#kind === contextKind ? this.#context : undefined;
    const member = ownMember(this.#context, contextKind);
    return isObject(member) ? member : undefined;
  }

  /** Names of the context's kinds; two that differ in lone surrogates alone are one. */
  kinds(): string[] {
    if (this.#kind !== 'multi') return [this.#kind];
    const entries = Object.entries(this.#context).filter(([name, member]) => name !== 'kind' && isObject(member));
    return [...new Set(entries.map(([name]) => toScalarText(name)))];
  }
}
