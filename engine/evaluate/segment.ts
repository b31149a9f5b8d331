import { LIMITS } from '@guidon/protocol';
import {
  isServable,
  type SegmentDefinition,
  type SegmentKeysDefinition,
  type SegmentRule,
} from '../flag-model/definitions.js';
import { holds } from './condition.js';
import type { SegmentRuleTrace, SegmentTrace } from './explanation.js';
import { EvaluationStop, type FlagRun, findAttribute } from './flag-run.js';
import { decideSegmentRollout } from './rollout.js';
import { hasKey } from './segment-index.js';

/** Is the context in this segment? Asked again for every clause: segments are not remembered. */
export function lookIntoSegment(run: FlagRun, key: string, depth: number, traces: SegmentTrace[]): boolean {
  const trace: SegmentTrace = { segment: key, why: 'stopped', rules: [], result: 'stopped' };
  run.tracer.add(traces, trace);
  run.fuel.spend(1);
  const segment = run.flagSet.segments.get(key);
  trace.why = segment === undefined ? 'missing' : findReason(segment, run, depth, trace.rules);
  trace.result = trace.why === 'included' || trace.why === 'rule';
  return trace.result;
}

/** Included wins over excluded, both over rules. */
function findReason(
  segment: SegmentDefinition,
  run: FlagRun,
  depth: number,
  traces: SegmentRuleTrace[],
): SegmentTrace['why'] {
  if (depth > LIMITS.referenceDepth) throw new EvaluationStop('PARSE_ERROR', 'depth', segment.key);
  if (!isServable(segment)) throw new EvaluationStop('PARSE_ERROR', 'requires', segment.key);
  if (isListed(segment.key, 'included', run)) return 'included';
  if (isListed(segment.key, 'excluded', run)) return 'excluded';
  return segment.rules.some((rule) => letsIn(rule, segment, run, depth, traces)) ? 'rule' : 'no-rule';
}

/** A list is compared with the targeting key of its kind; an integer key equals none of its entries. */
function isListed(segment: string, list: SegmentKeysDefinition['list'], run: FlagRun): boolean {
  for (const [contextKind, chunks] of run.segments.listOf(segment, list)) {
    const targetingKey = findAttribute(run.kinds, contextKind, 'targetingKey');
    if (typeof targetingKey === 'string' && hasKey(chunks, targetingKey)) return true;
  }
  return false;
}

function letsIn(
  rule: SegmentRule,
  segment: SegmentDefinition,
  run: FlagRun,
  depth: number,
  traces: SegmentRuleTrace[],
): boolean {
  const trace: SegmentRuleTrace = { when: [], matched: 'stopped' };
  run.tracer.add(traces, trace);
  trace.matched = holds(rule.when, run, depth + 1, trace.when);
  if (trace.matched && rule.rollout !== undefined) {
    trace.rollout = decideSegmentRollout(rule.rollout, segment.salt, run);
    trace.matched = trace.rollout.isIn;
  }
  return trace.matched;
}
