import type { AttributeClause, Operator, SegmentClause } from '../flag-model/definitions.js';

/**
 * Costs are the compiler's estimate of the most work that asking a flag can make, whatever the context. A unit is about 30 ns (two shared
 * cores of 2026, measured per operator with ADR 15): what a comparison of short texts takes with everything around it. They decide where
 * a request is evaluated and never what it answers. No step costs less than the fuel it is charged, so a bound on cost bounds fuel.
 *
 * Costs here hold for values of at most 63 bytes that are no arrays: one element, one `size` (docs/evaluation.md). A context that weighs w,
 * which is the most that the sizes of the elements of one of its attributes sum to, costs up to w times as much.
 */
export interface Cost {
  /** Of everything but what happens inside segments. */
  fixed: number;
  /** The segments looked into, each as often as it is. */
  readonly segments: string[];
}

/** Of one element of the attribute: what it takes to read it, and per value of the clause. `matches` is priced by its patterns. */
const OPERATOR_COST: Readonly<Record<Operator, { readonly element: number; readonly value: number }>> = {
  in: { element: 1, value: 0 },
  startsWith: { element: 0, value: 1 },
  endsWith: { element: 0, value: 1 },
  contains: { element: 0, value: 10 },
  // Folding 64 bytes beyond ASCII, which the next clause over another attribute undoes.
  startsWithIgnoreCase: { element: 24, value: 1 },
  endsWithIgnoreCase: { element: 24, value: 1 },
  containsIgnoreCase: { element: 24, value: 10 },
  matches: { element: 2, value: 0 },
  lt: { element: 0, value: 1 },
  lte: { element: 0, value: 1 },
  gt: { element: 0, value: 1 },
  gte: { element: 0, value: 1 },
  before: { element: 2, value: 1 },
  after: { element: 2, value: 1 },
  semverEq: { element: 8, value: 2 },
  semverLt: { element: 8, value: 2 },
  semverLte: { element: 8, value: 2 },
  semverGt: { element: 8, value: 2 },
  semverGte: { element: 8, value: 2 },
  cidr: { element: 8, value: 1 },
  exists: { element: 0, value: 0 },
};
const CLAUSE_COST = 1;
/** A search takes up to one unit per byte of input and instruction of the pattern, far less once its automaton is built. */
const INSTRUCTION_COST = 64;
/** One look into a segment, without its lists and rules. */
const SEGMENT_COST = 1;

/** `programSizes`: the instructions of each pattern of a `matches`. */
export function addAttributeClauseCost(cost: Cost, clause: AttributeClause, programSizes: readonly number[]): void {
  const { element, value } = OPERATOR_COST[clause.op];
  cost.fixed += CLAUSE_COST + element + clause.values.length * value;
  for (const size of programSizes) cost.fixed += INSTRUCTION_COST * size;
}

export function addSegmentClauseCost(cost: Cost, clause: SegmentClause): void {
  cost.fixed += CLAUSE_COST + clause.segment.length * SEGMENT_COST;
  cost.segments.push(...clause.segment);
}
