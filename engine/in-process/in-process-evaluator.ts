import { errorResult } from '../evaluate/flag.js';
import type { EvaluationOptions } from '../evaluate/reference-evaluation.js';
import type { Definition, FlagSet } from '../flag-model/definitions.js';
import type { Result } from '../flag-model/result.js';
import { Builder } from './builder.js';
import { SegmentOfRevision, SegmentRules } from './built-segment.js';
import { InProcessFlag } from './in-process-flag.js';
import { Run } from './run.js';

/**
 * Evaluates the flags of one revision from JavaScript objects to result objects, in the thread that calls: what an SDK with local
 * evaluation uses. Gives what `ReferenceEvaluation` gives, from closures that are built once per definition.
 *
 * - Never throws; never reads clock, random, locale or network.
 * - Results are frozen and shared: whoever gets the same answer gets the same object.
 * - A context is plain data, read while it is evaluated and not kept; one whose accessors throw, or evaluate, is INVALID_CONTEXT. Its bytes
 *   are not counted (nothing was received), but elements of its arrays are: at most LIMITS.contextBytes.
 * - The state of the evaluation that runs is shared by the line of revisions built upon each other: one thread, one line.
 */
export class InProcessEvaluator {
  readonly #builder: Builder;
  readonly #flags = new Map<string, InProcessFlag>();
  readonly #segments = new Map<string, SegmentOfRevision>();
  readonly #run: Run;
  /** By key; made when everything is asked for the first time. */
  #sorted: readonly InProcessFlag[] | undefined;

  /**
   * `flagSet` has passed `parseDefinition` and `checkFlagSet` and is not changed afterwards. Definitions that are the same object as in
   * `previous` are not built again; `previous` stays usable.
   */
  constructor(flagSet: FlagSet, previous?: InProcessEvaluator) {
    const base = previous === undefined || previous.#builder.isWornOut ? undefined : previous;
    const builder = base === undefined ? new Builder() : base.#builder;
    const built = base === undefined ? NOTHING_BUILT : { flags: base.#flags, segments: base.#segments };
    this.#builder = builder;
    for (const [key, definition] of flagSet.flags) {
      const known = built.flags.get(key);
      this.#flags.set(key, known?.definition === definition ? known : new InProcessFlag(definition, builder));
    }
    for (const [key, definition] of flagSet.segments) {
      const known = built.segments.get(key)?.rules;
      const rules = known?.definition === definition ? known : new SegmentRules(definition, builder);
      this.#segments.set(key, new SegmentOfRevision(rules));
    }
    for (const chunk of flagSet.segmentKeys.values())
      this.#segments.get(chunk.segment)?.[chunk.list].add(chunk, builder);
    builder.settle();
    this.#run = new Run(this.#flags, this.#segments, builder.patterns, namesReplacement(flagSet));
  }

  /** Attributes that this line of revisions has asked for. Those no longer used are swept now and then, so it is bounded. */
  get slotCount(): number {
    return this.#builder.slotCount;
  }

  evaluate(flagKey: string, context: unknown, options: EvaluationOptions): Result {
    if (!this.#run.begin(context, options)) return errorResult(flagKey, 'INVALID_CONTEXT');
    const { generation } = this.#run;
    const result = this.#evaluateNext(flagKey);
    return generation === this.#run.generation ? result : errorResult(flagKey, 'INVALID_CONTEXT');
  }

  /** The context is read once for all of them. A key asked twice is answered twice. */
  evaluateMany(flagKeys: readonly string[], context: unknown, options: EvaluationOptions): Result[] {
    if (this.#run.begin(context, options)) {
      const { generation } = this.#run;
      const results = flagKeys.map((flagKey) => this.#evaluateNext(flagKey));
      if (generation === this.#run.generation) return results;
    }
    return flagKeys.map((flagKey) => errorResult(flagKey, 'INVALID_CONTEXT'));
  }

  /** Every flag that the asker may see, sorted by key bytes. */
  evaluateAll(context: unknown, options: EvaluationOptions): Result[] {
    this.#sorted ??= [...this.#flags.values()].sort((a, b) => (a.key < b.key ? -1 : 1)); // keys are ASCII: any order is byte order
    const flags = options.clientSideOnly === true ? this.#sorted.filter((flag) => flag.clientSide) : this.#sorted;
    if (this.#run.begin(context, options)) {
      const { generation } = this.#run;
      const results = flags.map((flag) => flag.evaluate(this.#run, 0));
      if (generation === this.#run.generation) return results;
    }
    return flags.map(({ key }) => errorResult(key, 'INVALID_CONTEXT'));
  }

  #evaluateNext(flagKey: string): Result {
    const flag = this.#flags.get(flagKey);
    const isHidden = flag === undefined || (this.#run.clientSideOnly && !flag.clientSide);
    return isHidden ? errorResult(flagKey, 'FLAG_NOT_FOUND') : flag.evaluate(this.#run, 0);
  }
}

const NOTHING_BUILT = {
  flags: new Map<string, InProcessFlag>(),
  segments: new Map<string, SegmentOfRevision>(),
};

/** Of each definition that was ever looked at; a revision looks at its new ones only. */
const replacementNamed = new WeakMap<Definition, boolean>();

/** Does any definition name U+FFFD? Only then can it matter that a lone surrogate of a context reads as U+FFFD. */
function namesReplacement({ flags, segments, segmentKeys }: FlagSet): boolean {
  let isNamed = false;
  for (const definitions of [flags, segments, segmentKeys]) {
    for (const definition of definitions.values()) {
      let isNamedHere = replacementNamed.get(definition);
      if (isNamedHere === undefined) {
        isNamedHere = JSON.stringify(definition).includes('\ufffd');
        replacementNamed.set(definition, isNamedHere);
      }
      isNamed ||= isNamedHere;
    }
  }
  return isNamed;
}
