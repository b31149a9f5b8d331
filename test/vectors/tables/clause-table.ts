import type { AttributeClause, FlagDefinition, Operator } from '@guidon/engine';
import type { Json } from '@guidon/protocol';
import { aFlag } from '../../support/flag-sets.js';
import type { VectorCase } from '../../support/vectors.js';
import { no, ruleWhen, table, type VectorTable, yes } from './vector-table.js';

/** The attribute `a` is not in the context at all. */
export const ABSENT = Symbol('absent');

/**
 * `match`: some value of the clause matches. `differs`: the attribute is there and none does, so `negate` makes the clause true.
 * `missing`: false, negated or not.
 */
export type Outcome = 'match' | 'differs' | 'missing';
export type Row = readonly [name: string, seen: unknown, outcome: Outcome];

/** One clause over the attribute `a`, and what each value of `a` makes of it. */
export interface ClauseTable {
  /** Part of the flag keys. */
  readonly name: string;
  readonly op: Operator;
  readonly values: readonly Json[];
  readonly rows: readonly Row[];
}

/** What holds for every operator but `exists`, given one value that matches. */
export function commonRows(good: unknown): Row[] {
  return [
    ['absent', ABSENT, 'missing'],
    ['null', null, 'missing'],
    ['false', false, 'differs'],
    ['true', true, 'differs'],
    ['an empty array', [], 'differs'],
    ['an empty object', {}, 'differs'],
    ['an object', { a: good }, 'differs'],
    ['a good element', [good], 'match'],
    ['a good element after others', [null, false, {}, [], good], 'match'],
    ['a good element before others', [good, null, false], 'match'],
    ['a good value two arrays deep', [[good]], 'differs'],
    ['a null element', [null], 'differs'],
    ['an array of wrong types', [false, {}, [], null], 'differs'],
    ['NaN', Number.NaN, 'differs'],
    ['Infinity', Number.POSITIVE_INFINITY, 'differs'],
    ['-Infinity', Number.NEGATIVE_INFINITY, 'differs'],
  ];
}

/** Each clause as it is and negated, over each row. */
export function clauseTable(file: string, description: string, clauses: readonly ClauseTable[]): VectorTable {
  const flags: FlagDefinition[] = [];
  const cases: VectorCase[] = [];
  for (const { name, op, values, rows } of clauses) {
    for (const negate of [false, true]) {
      const key = negate ? `${name}.not` : name;
      const clause: AttributeClause = { attribute: 'a', op, values, ...(negate ? { negate } : {}) };
      flags.push(aFlag(key, ruleWhen(clause)));
      for (const [rowName, seen, outcome] of rows) {
        const holds = outcome === (negate ? 'differs' : 'match');
        const context = seen === ABSENT ? { targetingKey: 'u' } : { targetingKey: 'u', a: seen };
        cases.push({ name: `${key}: ${rowName}`, flag: key, context, expected: holds ? yes(key) : no(key) });
      }
    }
  }
  return table(file, description, { flags, cases });
}

/** Values in ascending order; those of one inner list are equal. */
export type Order = readonly (readonly Json[])[];

/** Every value as attribute against the first of each group as clause value, for each operator of `holdsWhen`. */
export function orderTable(
  file: string,
  description: string,
  order: Order,
  holdsWhen: Partial<Record<Operator, (comparison: number) => boolean>>,
): VectorTable {
  const flags: FlagDefinition[] = [];
  const cases: VectorCase[] = [];
  for (const [op, holds] of Object.entries(holdsWhen)) {
    for (const [valueRank, [value = null]] of order.entries()) {
      const key = `${op}-${valueRank}`;
      flags.push(aFlag(key, ruleWhen({ attribute: 'a', op: op as Operator, values: [value] })));
      for (const [seenRank, group] of order.entries()) {
        for (const seen of group) {
          const expected = holds(seenRank - valueRank) ? yes(key) : no(key);
          const name = `${JSON.stringify(seen)} ${op} ${JSON.stringify(value)}`;
          cases.push({ name, flag: key, context: { targetingKey: 'u', a: seen }, expected });
        }
      }
    }
  }
  return table(file, description, { flags, cases });
}
