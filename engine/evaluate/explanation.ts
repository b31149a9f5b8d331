import type { Json } from '@guidon/protocol';
import type { AttributeClause, Feature } from '../flag-model/definitions.js';
import type { EvaluationErrorCode, Result } from '../flag-model/result.js';

/** Why one evaluation came out as it did: what `/v1/explain` answers. JSON, bounded in size. */
export interface Explanation {
  readonly result: Result;
  /** Epoch milliseconds that `@now` stood for. */
  readonly now: number;
  /** Kinds of the context; absent when it is not valid. */
  readonly contextKinds?: readonly string[];
  /** The asked flag first, then each prerequisite once, in the order in which they were first needed. */
  readonly flags: readonly FlagTrace[];
  /** More happened than is shown: TRACE_NODE_COUNT_MAX. */
  readonly isCut?: true;
}

export interface FlagTrace {
  readonly flag: string;
  /** As if asked itself; for a prerequisite whatever its `clientSide` is. */
  result?: Result;
  /** Of FLAG_FUEL; without that of prerequisites, which have their own. */
  fuelUsed: number;
  readonly steps: Step[];
}

/** Steps in the order taken. The last one, or `stopped`, made the result. */
export type Step =
  | { readonly step: 'invalid-context' }
  | { readonly step: 'not-found' }
  | { readonly step: 'requires'; readonly missing: readonly Feature[] }
  | { readonly step: 'off'; readonly variation: string }
  | PrerequisiteStep
  | TargetStep
  | RuleStep
  | FallthroughStep
  | StoppedStep;

export interface PrerequisiteStep {
  readonly step: 'prerequisite';
  readonly flag: string;
  readonly variations: readonly string[];
  outcome: 'met' | 'missing' | 'off' | 'other-variation' | 'error' | 'stopped';
  /** What it served. */
  served?: string;
}

export interface TargetStep {
  readonly step: 'target';
  readonly targetIndex: number;
  readonly contextKind: string;
  readonly variation: string;
  readonly matched: boolean;
}

export interface RuleStep {
  readonly step: 'rule';
  readonly ruleIndex: number;
  readonly ruleId: string;
  /** Did it serve? A rule whose condition holds but whose rollout is not entered did not. */
  matched: boolean | 'stopped';
  /** One node, the condition; none when the trace is cut. */
  readonly when: ConditionTrace[];
  rollout?: RolloutTrace;
}

export interface FallthroughStep {
  readonly step: 'fallthrough';
  readonly variation?: string;
  readonly rollout?: RolloutTrace;
}

/**
 * The evaluation ended early: `fuel` ran out, references are too deep, a definition requires a feature that this evaluator lacks, a
 * prerequisite is PARSE_ERROR, or the definition names something that it does not have.
 */
export interface StoppedStep {
  readonly step: 'stopped';
  readonly errorCode: EvaluationErrorCode;
  readonly why: StopReason;
  /** The prerequisite or segment that caused it. */
  readonly at?: string;
}

export type StopReason = 'fuel' | 'depth' | 'requires' | 'prerequisite' | 'definition';

/** `stopped`: the evaluation ended inside this node. */
type NodeResult = boolean | 'stopped';

export type ConditionTrace = GroupTrace | NotTrace | AttributeTrace | SegmentClauseTrace;

export interface GroupTrace {
  readonly group: 'all' | 'any';
  /** Those looked at, of `count`. */
  readonly conditions: ConditionTrace[];
  readonly count: number;
  result: NodeResult;
}

export interface NotTrace {
  readonly group: 'not';
  readonly conditions: ConditionTrace[];
  result: NodeResult;
}

export interface AttributeTrace {
  readonly attribute: string;
  readonly contextKind: string;
  readonly op: AttributeClause['op'];
  readonly negate: boolean;
  /** The kind or the attribute is missing, null, or an empty targeting key. */
  isMissing: boolean;
  /** The attribute's value, long ones cut; absent when missing. */
  seen?: Json;
  /** The first value of the clause that matched, before `negate`. */
  matchedValue?: Json;
  result: NodeResult;
}

export interface SegmentClauseTrace {
  readonly negate: boolean;
  /** Those looked into. */
  readonly segments: SegmentTrace[];
  result: NodeResult;
}

export interface SegmentTrace {
  readonly segment: string;
  why: 'missing' | 'included' | 'excluded' | 'rule' | 'no-rule' | 'stopped';
  /** Rules looked at, in order. */
  readonly rules: SegmentRuleTrace[];
  result: NodeResult;
}

export interface SegmentRuleTrace {
  readonly when: ConditionTrace[];
  rollout?: SegmentRolloutTrace;
  matched: NodeResult;
}

interface SubjectTrace {
  readonly contextKind: string;
  readonly bucketBy: string;
  /** What was hashed: a string as it is, an integer in decimals. Absent when missing. */
  readonly bucketedValue?: string;
}

export interface SegmentRolloutTrace extends SubjectTrace {
  readonly bucket?: number;
  readonly weight: number;
  readonly isIn: boolean;
}

export interface RolloutTrace extends SubjectTrace {
  readonly saltSource: 'flag' | 'seed';
  readonly outcome: 'served' | 'outside-layer' | 'missing-attribute';
  readonly layer?: { readonly key: string; readonly from: number; readonly to: number; readonly bucket: number };
  readonly bucket?: number;
  /** Index into `weights` of what was served, and the bucket range [from, to) that it covers. */
  readonly weightIndex?: number;
  readonly range?: readonly [from: number, to: number];
  readonly variation?: string;
}
