import { REGEX_FUEL } from '@guidon/protocol';
import type { AttributeClause, Condition, SegmentClause } from '../flag-model/definitions.js';
import { utf8Bytes } from '../flag-model/text.js';
import type { AttributeTrace, ConditionTrace, GroupTrace, NotTrace, SegmentClauseTrace } from './explanation.js';
import { type FlagRun, findAttribute } from './flag-run.js';
import { matchesValue } from './operators.js';
import { cutRegexInput } from './regex.js';
import { previewOf } from './tracer.js';

/** `segmentDepth` is the depth at which a segment named here would be: 0 in a flag's rule, one more in each segment's. */
export function holds(condition: Condition, run: FlagRun, segmentDepth: number, traces: ConditionTrace[]): boolean {
  if ('all' in condition) return holdsGroup('all', condition.all, run, segmentDepth, traces);
  if ('any' in condition) return holdsGroup('any', condition.any, run, segmentDepth, traces);
  if ('not' in condition) return holdsNot(condition.not, run, segmentDepth, traces);
  if ('segment' in condition) return holdsSegmentClause(condition, run, segmentDepth, traces);
  return holdsAttributeClause(condition, run, traces);
}

/** `all` stops at the first false, `any` at the first true: `all []` is true, `any []` is false. */
function holdsGroup(
  group: 'all' | 'any',
  conditions: readonly Condition[],
  run: FlagRun,
  segmentDepth: number,
  traces: ConditionTrace[],
): boolean {
  const trace: GroupTrace = { group, conditions: [], count: conditions.length, result: 'stopped' };
  run.tracer.add(traces, trace);
  const isMember = (condition: Condition): boolean => holds(condition, run, segmentDepth, trace.conditions);
  trace.result = group === 'all' ? conditions.every(isMember) : conditions.some(isMember);
  return trace.result;
}

function holdsNot(condition: Condition, run: FlagRun, segmentDepth: number, traces: ConditionTrace[]): boolean {
  const trace: NotTrace = { group: 'not', conditions: [], result: 'stopped' };
  run.tracer.add(traces, trace);
  trace.result = !holds(condition, run, segmentDepth, trace.conditions);
  return trace.result;
}

/** In any of the segments; `negate` inverts always, for a missing segment has no members. */
function holdsSegmentClause(
  clause: SegmentClause,
  run: FlagRun,
  segmentDepth: number,
  traces: ConditionTrace[],
): boolean {
  const negate = clause.negate ?? false;
  const trace: SegmentClauseTrace = { negate, segments: [], result: 'stopped' };
  run.tracer.add(traces, trace);
  run.fuel.spend(1);
  const isMember = clause.segment.some((key) => run.lookIntoSegment(run, key, segmentDepth, trace.segments));
  trace.result = isMember !== negate;
  return trace.result;
}

function holdsAttributeClause(clause: AttributeClause, run: FlagRun, traces: ConditionTrace[]): boolean {
  const negate = clause.negate ?? false;
  const contextKind = clause.contextKind ?? 'user';
  const { attribute, op } = clause;
  const trace: AttributeTrace = { attribute, contextKind, op, negate, isMissing: true, result: 'stopped' };
  run.tracer.add(traces, trace);
  run.fuel.spend(1);
  const seen = findSubject(run, contextKind, attribute);
  if (seen !== undefined) {
    trace.isMissing = false;
    if (run.tracer.isOn) trace.seen = previewOf(seen);
  }
  if (op === 'exists') trace.result = ((seen !== undefined) === clause.values[0]) !== negate;
  else trace.result = seen !== undefined && matchesAny(clause, seen, run, trace) !== negate;
  return trace.result;
}

/** `@now` and the context's kinds are there whatever the clause's kind is, also when the context lacks it. */
function findSubject(run: FlagRun, contextKind: string, attribute: string): unknown {
  if (attribute === '@now') return run.now;
  if (attribute === 'kind' || attribute === '/kind') return [...run.kinds.keys()];
  return findAttribute(run.kinds, contextKind, attribute);
}

/** An array matches when any of its elements does. */
function matchesAny(clause: AttributeClause, seen: unknown, run: FlagRun, trace: AttributeTrace): boolean {
  const elements: readonly unknown[] = Array.isArray(seen) ? seen : [seen];
  run.fuel.spend(costOf(clause, elements));
  const matched = clause.values.find((value) =>
    elements.some((element) => matchesValue(clause.op, element, value, run.patterns)),
  );
  if (matched !== undefined) trace.matchedValue = matched;
  return matched !== undefined;
}

function costOf({ op, values }: AttributeClause, elements: readonly unknown[]): number {
  const valueCount = op === 'in' ? 1 : values.length;
  let units = 0;
  for (const element of elements) units += op === 'matches' ? regexUnits(element) : unitsOf(element);
  return valueCount * units;
}

function unitsOf(element: unknown): number {
  return typeof element === 'string' ? 1 + Math.floor(utf8Bytes(element) / 64) : 1;
}

function regexUnits(element: unknown): number {
  return typeof element === 'string' ? REGEX_FUEL * (1 + Math.floor(cutRegexInput(element).byteCount / 64)) : 0;
}
