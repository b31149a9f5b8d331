import { LIMITS } from '@guidon/protocol';
import { EVALUATOR_FEATURES, type FlagDefinition, type FlagSet, type Prerequisite } from '../flag-model/definitions.js';
import type { EvaluationErrorCode, Reason, Result, ServedResult } from '../flag-model/result.js';
import { isTargetingKeyPath, parseAttributePath } from './attribute-path.js';
import { holds } from './condition.js';
import type { ContextKinds } from './context.js';
import type { FlagTrace, PrerequisiteStep, RolloutTrace, RuleStep, Step } from './explanation.js';
import { EvaluationStop, type FlagRun, Fuel, findAttribute } from './flag-run.js';
import type { PatternCache } from './regex.js';
import { decideRollout } from './rollout.js';
import { lookIntoSegment } from './segment.js';
import type { SegmentIndex } from './segment-index.js';
import type { Tracer } from './tracer.js';

/** All evaluations of one context at one instant. */
export interface Session {
  readonly flagSet: FlagSet;
  readonly segments: SegmentIndex;
  readonly patterns: PatternCache;
  readonly kinds: ContextKinds;
  readonly now: number;
  readonly clientSideOnly: boolean;
  readonly tracer: Tracer;
  readonly flagTraces: FlagTrace[];
  /** A flag is evaluated at most once per context and request. */
  readonly outcomes: Map<string, Outcome>;
}

interface Outcome {
  readonly result: Result;
  /** Edges of the longest path of prerequisites evaluated below this flag. */
  readonly height: number;
}

/** Ends the evaluation of the asked flag, through all the prerequisites in between: what they would answer themselves is unknown. */
class PrerequisitesTooDeep extends Error {
  readonly at: string;

  constructor(at: string) {
    super('prerequisites too deep');
    this.at = at;
  }
}

/** The answer for a flag as if asked itself, whatever its `clientSide` is. */
export function evaluateAskedFlag(flag: FlagDefinition, session: Session): Result {
  try {
    return evaluateFlag(flag, session, 0).result;
  } catch (stop) {
    if (!(stop instanceof PrerequisitesTooDeep)) throw stop;
    const result = errorResult(flag.key, 'PARSE_ERROR');
    session.outcomes.set(flag.key, { result, height: LIMITS.referenceDepth + 1 });
    const [trace] = session.flagTraces;
    if (trace !== undefined) {
      session.tracer.add<Step>(trace.steps, { step: 'stopped', errorCode: 'PARSE_ERROR', why: 'depth', at: stop.at });
      trace.result = result;
    }
    return result;
  }
}

export function errorResult(flag: string, errorCode: EvaluationErrorCode): Result {
  return { flag, reason: 'ERROR', errorCode };
}

/**
 * `depth` counts edges from the asked flag. A remembered outcome counts with the height below it, so that the answer is the same
 * whether a prerequisite was evaluated before or not.
 */
function evaluateFlag(flag: FlagDefinition, session: Session, depth: number): Outcome {
  const known = session.outcomes.get(flag.key);
  if (depth + (known?.height ?? 0) > LIMITS.referenceDepth) throw new PrerequisitesTooDeep(flag.key);
  if (known !== undefined) return known;
  const trace: FlagTrace = { flag: flag.key, fuelUsed: 0, steps: [] };
  session.tracer.add(session.flagTraces, trace);
  const fuel = new Fuel();
  const evaluation = new FlagEvaluation(flag, session, { ...session, fuel, lookIntoSegment }, depth, trace.steps);
  const result = evaluation.evaluate();
  trace.result = result;
  trace.fuelUsed = fuel.used;
  const outcome = { result, height: evaluation.height };
  session.outcomes.set(flag.key, outcome);
  return outcome;
}

class FlagEvaluation {
  readonly #flag: FlagDefinition;
  readonly #session: Session;
  readonly #run: FlagRun;
  readonly #depth: number;
  readonly #steps: Step[];
  height = 0;

  constructor(flag: FlagDefinition, session: Session, run: FlagRun, depth: number, steps: Step[]) {
    this.#flag = flag;
    this.#session = session;
    this.#run = run;
    this.#depth = depth;
    this.#steps = steps;
  }

  evaluate(): Result {
    try {
      return this.#evaluateSteps();
    } catch (stop) {
      if (!(stop instanceof EvaluationStop)) throw stop;
      const { errorCode, why, at } = stop;
      this.#note({ step: 'stopped', errorCode, why, ...(at === undefined ? {} : { at }) });
      return errorResult(this.#flag.key, errorCode);
    }
  }

  #note(step: Step): void {
    this.#session.tracer.add(this.#steps, step);
  }

  /** The order of evaluation of the flag model, from step 2 on. */
  #evaluateSteps(): Result {
    const flag = this.#flag;
    const missing = flag.requires.filter((feature) => !EVALUATOR_FEATURES.has(feature));
    if (missing.length > 0) {
      this.#note({ step: 'requires', missing });
      return errorResult(flag.key, 'PARSE_ERROR');
    }
    if (!flag.on) {
      this.#note({ step: 'off', variation: flag.offVariation });
      return this.#serve(flag.offVariation, 'DISABLED');
    }
    const failed = flag.prerequisites.find((prerequisite) => !this.#isMet(prerequisite));
    if (failed !== undefined) return this.#serveFailedPrerequisite(failed.flag);
    return this.#serveTarget() ?? this.#serveRule() ?? this.#serveFallthrough();
  }

  /** On and serving one of the listed variations. */
  #isMet(prerequisite: Prerequisite): boolean {
    const { flag: key, variations } = prerequisite;
    const step: PrerequisiteStep = { step: 'prerequisite', flag: key, variations, outcome: 'stopped' };
    this.#note(step);
    this.#run.fuel.spend(4);
    const flag = this.#session.flagSet.flags.get(key);
    if (flag === undefined) {
      step.outcome = 'missing';
      return false;
    }
    const { result, height } = evaluateFlag(flag, this.#session, this.#depth + 1);
    this.height = Math.max(this.height, height + 1);
    if (result.reason === 'ERROR') {
      if (result.errorCode === 'PARSE_ERROR') throw new EvaluationStop('PARSE_ERROR', 'prerequisite', key);
      step.outcome = 'error';
      return false;
    }
    step.served = result.variation;
    if (!flag.on) step.outcome = 'off';
    else step.outcome = variations.includes(result.variation) ? 'met' : 'other-variation';
    return step.outcome === 'met';
  }

  /** Its name stays away from an asker that may not see that flag, which includes a flag that does not exist. */
  #serveFailedPrerequisite(key: string): Result {
    const { clientSideOnly, flagSet } = this.#session;
    const isVisible = !clientSideOnly || flagSet.flags.get(key)?.clientSide === true;
    return this.#serve(this.#flag.offVariation, 'DISABLED', isVisible ? { prerequisite: key } : {});
  }

  #serveTarget(): Result | undefined {
    for (const [targetIndex, { contextKind, variation, keys }] of this.#flag.targets.entries()) {
      this.#run.fuel.spend(1);
      const targetingKey = findAttribute(this.#run.kinds, contextKind, 'targetingKey');
      const matched = typeof targetingKey === 'string' && keys.includes(targetingKey);
      this.#note({ step: 'target', targetIndex, contextKind, variation, matched });
      if (matched) return this.#serve(variation, 'TARGETING_MATCH');
    }
    return undefined;
  }

  /** The first rule that holds and, where it serves a rollout, whose rollout is entered. */
  #serveRule(): Result | undefined {
    for (const [ruleIndex, { id, when, serve }] of this.#flag.rules.entries()) {
      const step: RuleStep = { step: 'rule', ruleIndex, ruleId: id, matched: 'stopped', when: [] };
      this.#note(step);
      step.matched = holds(when, this.#run, 0, step.when);
      if (!step.matched) continue;
      if ('variation' in serve) return this.#serve(serve.variation, 'TARGETING_MATCH', { ruleId: id });
      step.rollout = decideRollout(serve.rollout, this.#flag.salt, this.#run);
      step.matched = step.rollout.variation !== undefined;
      if (step.matched) return this.#serveRollout(step.rollout, serve.rollout.experiment, { ruleId: id });
    }
    return undefined;
  }

  #serveFallthrough(): Result {
    const { fallthrough, prerequisites, targets, rules, offVariation, salt, key } = this.#flag;
    if ('variation' in fallthrough) {
      this.#note({ step: 'fallthrough', variation: fallthrough.variation });
      const isStatic = prerequisites.length + targets.length + rules.length === 0;
      return this.#serve(fallthrough.variation, isStatic ? 'STATIC' : 'DEFAULT');
    }
    const rollout = decideRollout(fallthrough.rollout, salt, this.#run);
    this.#note({ step: 'fallthrough', rollout });
    if (rollout.variation !== undefined) return this.#serveRollout(rollout, fallthrough.rollout.experiment, {});
    const isByTargetingKey = isTargetingKeyPath(parseAttributePath(rollout.bucketBy) ?? []);
    if (rollout.outcome === 'missing-attribute' && isByTargetingKey) return errorResult(key, 'TARGETING_KEY_MISSING');
    return this.#serve(offVariation, 'DEFAULT');
  }

  #serveRollout(rollout: RolloutTrace, experiment: string | undefined, rule: { ruleId?: string }): Result {
    const more = experiment === undefined ? rule : ({ ...rule, inExperiment: true } as const);
    return this.#serve(rollout.variation, 'SPLIT', more);
  }

  #serve(
    variation: string | undefined,
    reason: Exclude<Reason, 'ERROR'>,
    more: Pick<ServedResult, 'ruleId' | 'prerequisite' | 'inExperiment'> = {},
  ): Result {
    const served = this.#flag.variations.find(({ key }) => key === variation);
    // A dangling variation is refused when loaded.
    if (served === undefined) throw new EvaluationStop('PARSE_ERROR', 'definition', variation);
    return { flag: this.#flag.key, value: served.value, variation: served.key, reason, ...more };
  }
}
