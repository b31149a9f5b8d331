import type { AttributeClause, FlagDefinition } from '../side-by-side/peer.js';

/** A weight of 100 000 is everybody. */
export interface PlainWeight {
  readonly variation: string;
  readonly weight: number;
}

/** What the workloads' rules are: clauses that must all hold, and what is served then. */
export interface PlainRule {
  readonly id: string;
  readonly clauses: readonly AttributeClause[];
  readonly weights: readonly PlainWeight[];
}

export function rulesOf(flag: FlagDefinition): PlainRule[] {
  return flag.rules.map(({ id, when, serve }) => {
    if (!('all' in when)) throw new Error('a rule of the workloads is one group of clauses');
    const clauses = when.all.filter((clause): clause is AttributeClause => 'attribute' in clause);
    return { id, clauses, weights: weightsOf(serve) };
  });
}

/** What is served when no rule holds. */
export function fallthroughOf(flag: FlagDefinition): readonly PlainWeight[] {
  return weightsOf(flag.fallthrough);
}

function weightsOf(serve: FlagDefinition['fallthrough']): readonly PlainWeight[] {
  return 'variation' in serve ? [{ variation: serve.variation, weight: 100_000 }] : serve.rollout.weights;
}

/** The values of a clause that takes texts. */
export function textsOf({ values }: AttributeClause): string[] {
  return values.map(String);
}

/** The only value of an order clause. */
export function limitOf({ values }: AttributeClause): number {
  return Number(values[0]);
}

/** `table[op]`, for a workload has no other operators. */
export function forOperator<T>(op: string, table: Readonly<Record<string, T>>): T {
  const found = table[op];
  if (found === undefined) throw new Error(`the workloads do not use ${op}`);
  return found;
}

export function at<T>(items: readonly T[], index: number): T {
  const item = items[index];
  if (item === undefined) throw new Error(`there is no item ${index}`);
  return item;
}
