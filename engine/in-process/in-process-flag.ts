import { FLAG_FUEL, LIMITS } from '@guidon/protocol';
import { isTargetingKeyPath, parseAttributePath } from '../evaluate/attribute-path.js';
import { errorResult } from '../evaluate/flag.js';
import { EvaluationStop } from '../evaluate/flag-run.js';
import { type FlagDefinition, isServable, type Serve } from '../flag-model/definitions.js';
import type { Result, ServedResult } from '../flag-model/result.js';
import type { AttributeSlot } from './attribute-slot.js';
import { buildRollout, type Decision, MISSING_ATTRIBUTE } from './build-rollout.js';
import type { Builder } from './builder.js';
import { type Entry, follow, linkCondition } from './condition.js';
import { ResultMaker } from './result-maker.js';
import type { BuiltFlag, Run } from './run.js';

interface BuiltPrerequisite {
  readonly flag: string;
  readonly variations: readonly string[];
  readonly failed: Result;
  /** For an asker that may not see that flag. */
  readonly failedUnseen: Result;
}

interface BuiltTarget {
  readonly slot: AttributeSlot;
  readonly keys: ReadonlySet<unknown>;
  readonly result: Result;
}

/** What a rule or the fallthrough serves. */
interface BuiltServe {
  /** Absent where one variation is served: the only one of `results`. Otherwise they are those of the weights. */
  readonly decide: Decision | undefined;
  readonly results: readonly Result[];
  /** Where a rule's rollout is not entered: the next rule. Absent at the fallthrough, which `#notBucketed` or `#outsideLayer` end. */
  readonly next: Entry<BuiltServe> | undefined;
}

/**
 * One flag as a graph of clauses that ends in what is served. Every result it can give is made beforehand and frozen, so that an
 * evaluation allocates nothing. The steps are those of engine/evaluate/flag.ts, which is the specification.
 */
export class InProcessFlag implements BuiltFlag {
  readonly key: string;
  readonly isOn: boolean;
  readonly clientSide: boolean;
  readonly definition: FlagDefinition;
  readonly #isServable: boolean;
  readonly #prerequisites: readonly BuiltPrerequisite[];
  readonly #targets: readonly BuiltTarget[];
  /** The first rule; all others and the fallthrough are linked behind it. */
  readonly #entry: Entry<BuiltServe>;
  readonly #disabled: Result;
  /** Of a fallthrough whose rollout is not entered. */
  readonly #notBucketed: Result;
  readonly #outsideLayer: Result;
  /** What was answered for the context of evaluation `#generation`. */
  #outcome: Result;
  #generation = 0;

  constructor(definition: FlagDefinition, builder: Builder) {
    const { targets, prerequisites, fallthrough, offVariation } = definition;
    const make = new ResultMaker(definition);
    this.definition = definition;
    this.key = definition.key;
    this.isOn = definition.on;
    this.clientSide = definition.clientSide;
    this.#isServable = isServable(definition);
    this.#disabled = make.served(offVariation, 'DISABLED');
    this.#prerequisites = prerequisites.map(({ flag, variations }) => ({
      flag,
      variations,
      failed: make.served(offVariation, 'DISABLED', { prerequisite: flag }),
      failedUnseen: this.#disabled,
    }));
    this.#targets = targets.map(({ contextKind, variation, keys }) => ({
      slot: builder.slotOf(contextKind, 'targetingKey'),
      keys: new Set(keys),
      result: make.served(variation, 'TARGETING_MATCH'),
    }));
    this.#entry = linkRules(definition, make, builder);
    this.#outsideLayer = make.served(offVariation, 'DEFAULT');
    const bucketBy = 'rollout' in fallthrough ? (fallthrough.rollout.bucketBy ?? 'targetingKey') : '';
    const isByTargetingKey = isTargetingKeyPath(parseAttributePath(bucketBy) ?? []);
    this.#notBucketed = isByTargetingKey ? make.error('TARGETING_KEY_MISSING') : this.#outsideLayer;
    this.#outcome = this.#disabled;
  }

  evaluate(run: Run, depth: number): Result {
    if (this.#generation === run.generation) return this.#outcome;
    if (depth > LIMITS.referenceDepth) return errorResult(this.key, 'PARSE_ERROR'); // refused when loaded: ends a cycle
    const { generation, fuel } = run;
    run.fuel = FLAG_FUEL;
    run.segmentDepth = 0;
    const outcome = this.#tryEvaluate(run, depth);
    run.fuel = fuel;
    this.#outcome = outcome;
    this.#generation = generation;
    return outcome;
  }

  #tryEvaluate(run: Run, depth: number): Result {
    try {
      return this.#evaluateSteps(run, depth);
    } catch (stop) {
      if (!(stop instanceof EvaluationStop)) throw stop;
      return errorResult(this.key, stop.errorCode);
    }
  }

  /** The order of evaluation of the flag model, from step 2 on. */
  #evaluateSteps(run: Run, depth: number): Result {
    if (!this.#isServable) return errorResult(this.key, 'PARSE_ERROR');
    if (!this.isOn) return this.#disabled;
    for (const prerequisite of this.#prerequisites) {
      if (!isMet(prerequisite, run, depth)) return failedResult(prerequisite, run);
    }
    for (const { slot, keys, result } of this.#targets) {
      run.spend(1);
      if (keys.has(slot.read(run).value)) return result;
    }
    for (let entry = this.#entry; ; ) {
      const { decide, results, next } = follow(entry, run);
      const index = decide === undefined ? 0 : decide(run);
      const result = results[index];
      if (result !== undefined) return result;
      if (next === undefined) return index === MISSING_ATTRIBUTE ? this.#notBucketed : this.#outsideLayer;
      entry = next;
    }
  }
}

/** From the fallthrough back to the first rule, so that where a rule that does not hold goes on is known already. */
function linkRules(definition: FlagDefinition, make: ResultMaker, builder: Builder): Entry<BuiltServe> {
  const { rules, targets, prerequisites, salt } = definition;
  const build = (
    serve: Serve,
    next: Entry<BuiltServe> | undefined,
    reason: Exclude<ServedResult['reason'], 'SPLIT'>,
    more: { readonly ruleId?: string },
  ): BuiltServe => {
    if ('variation' in serve) return { decide: undefined, results: [make.served(serve.variation, reason, more)], next };
    const { weights, experiment } = serve.rollout;
    const members = experiment === undefined ? more : ({ ...more, inExperiment: true } as const);
    const results = weights.map(({ variation }) => make.served(variation, 'SPLIT', members));
    return { decide: buildRollout(serve.rollout, salt, builder), results, next };
  };
  const isStatic = prerequisites.length + targets.length + rules.length === 0;
  const fallthrough = build(definition.fallthrough, undefined, isStatic ? 'STATIC' : 'DEFAULT', {});
  return rules.reduceRight<Entry<BuiltServe>>((next, { id, when, serve }) => {
    const served = build(serve, next, 'TARGETING_MATCH', { ruleId: id });
    return linkCondition(when, served, next, builder);
  }, fallthrough);
}

/** On and serving one of the listed variations. */
function isMet({ flag: key, variations }: BuiltPrerequisite, run: Run, depth: number): boolean {
  run.spend(4);
  const flag = run.flags.get(key);
  if (flag === undefined) return false;
  const result = flag.evaluate(run, depth + 1);
  if (result.reason === 'ERROR') {
    if (result.errorCode === 'PARSE_ERROR') throw new EvaluationStop('PARSE_ERROR', 'prerequisite');
    return false;
  }
  return flag.isOn && variations.includes(result.variation);
}

/** Its name stays away from an asker that may not see that flag, which includes a flag that does not exist. */
function failedResult({ flag, failed, failedUnseen }: BuiltPrerequisite, run: Run): Result {
  return run.clientSideOnly && run.flags.get(flag)?.clientSide !== true ? failedUnseen : failed;
}
