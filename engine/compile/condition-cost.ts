import { LIMITS } from '@guidon/protocol';
import type { Clause, Condition } from '../flag-model/definitions.js';

/** Fuel of a regex over the longest input it may see. */
const REGEX_COST = 1 + Math.floor(LIMITS.regexInputBytes / 64);

/**
 * Worst-case fuel of a condition for attributes that are no arrays (docs/evaluation.md has the table); an array multiplies a clause
 * by its elements. `segmentCost` gives what looking into a segment costs at most.
 */
export function conditionCost(condition: Condition, segmentCost: (key: string) => number): number {
  if ('all' in condition) return sum(condition.all, segmentCost);
  if ('any' in condition) return sum(condition.any, segmentCost);
  if ('not' in condition) return conditionCost(condition.not, segmentCost);
  return clauseCost(condition, segmentCost);
}

function sum(conditions: readonly Condition[], segmentCost: (key: string) => number): number {
  return conditions.reduce((total, child) => total + conditionCost(child, segmentCost), 0);
}

function clauseCost(clause: Clause, segmentCost: (key: string) => number): number {
  if ('segment' in clause) return clause.segment.reduce((total, key) => total + 1 + segmentCost(key), 1);
  if (clause.op === 'in') return 2;
  if (clause.op === 'exists') return 1;
  return 1 + clause.values.length * (clause.op === 'matches' ? REGEX_COST : 1);
}
