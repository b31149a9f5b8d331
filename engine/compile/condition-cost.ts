import { LIMITS, REGEX_FUEL } from '@guidon/protocol';
import type { Clause, Condition } from '../flag-model/definitions.js';

/** Fuel of a regex over the longest input it may see. */
const REGEX_COST = REGEX_FUEL * (1 + Math.floor(LIMITS.regexInputBytes / 64));

/**
 * Worst-case fuel for attributes that are no arrays and have at most 63 bytes (docs/evaluation.md has the table): an array multiplies a
 * clause by its elements, a longer string by 1 + its bytes / 64.
 */
export interface Cost {
  /** Of everything but what happens inside segments. */
  fixed: number;
  /** The segments looked into, each as often as it is. */
  readonly segments: string[];
}

/** Adds what a condition costs at most. */
export function addConditionCost(cost: Cost, condition: Condition): void {
  if ('all' in condition) for (const child of condition.all) addConditionCost(cost, child);
  else if ('any' in condition) for (const child of condition.any) addConditionCost(cost, child);
  else if ('not' in condition) addConditionCost(cost, condition.not);
  else addClauseCost(cost, condition);
}

function addClauseCost(cost: Cost, clause: Clause): void {
  cost.fixed += 1;
  if ('segment' in clause) {
    cost.fixed += clause.segment.length;
    cost.segments.push(...clause.segment);
  } else if (clause.op === 'in') {
    cost.fixed += 1;
  } else if (clause.op !== 'exists') {
    cost.fixed += clause.values.length * (clause.op === 'matches' ? REGEX_COST : 1);
  }
}
