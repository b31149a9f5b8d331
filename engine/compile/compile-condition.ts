import { LIMITS, PlatformError } from '@guidon/protocol';
import type { Clause, Condition, SegmentClause } from '../flag-model/definitions.js';
import { writeAttributeClause } from './compile-clause.js';
import { addSegmentClauseCost } from './condition-cost.js';
import { ALWAYS, NEVER, NODE, NODE_BIT, OP } from './layout.js';
import type { UnitBuilder } from './unit-builder.js';

/** A condition as the kernel runs it: clauses that jump forward. */
export interface CompiledCondition {
  readonly nodes: number;
  readonly nodeCount: number;
  readonly entry: number;
}

interface Jump {
  readonly clause: Clause;
  readonly onTrue: number;
  readonly onFalse: number;
}

/**
 * Turns a condition tree into clauses with two exits each and appends them. Trees are walked from their last clause to the first, so
 * that where to go on is known already; a group costs nothing at run time and the order of clauses, and so the fuel, stays.
 */
export function compileCondition(builder: UnitBuilder, condition: Condition): CompiledCondition {
  const jumps: Jump[] = [];
  const entryFromEnd = plan(condition, ALWAYS, NEVER, jumps);
  const nodeCount = jumps.length;
  if (nodeCount > LIMITS.conditionNodesPerRule)
    throw new PlatformError('limit-exceeded', 'a condition has too many clauses');
  const toIndex = (label: number): number => (label >= NEVER ? label : nodeCount - 1 - label);
  const nodes = nodeCount === 0 ? 0 : builder.writer.reserve(nodeCount * NODE.bytes, NODE.bytes);
  for (const [fromEnd, jump] of jumps.entries()) {
    const node = nodes + (nodeCount - 1 - fromEnd) * NODE.bytes;
    const isNegated = jump.clause.negate === true;
    builder.writer.u16(node + NODE.onMatch, toIndex(isNegated ? jump.onFalse : jump.onTrue));
    builder.writer.u16(node + NODE.onMismatch, toIndex(isNegated ? jump.onTrue : jump.onFalse));
  }
  // Operands and references follow in evaluation order, which keeps what runs together close together.
  for (let index = 0; index < nodeCount; index += 1) {
    const jump = jumps[nodeCount - 1 - index];
    if (jump !== undefined) writeClause(builder, nodes + index * NODE.bytes, jump.clause);
  }
  return { nodes, nodeCount, entry: toIndex(entryFromEnd) };
}

/** Pushes the clauses of `condition` last one first; returns the label to enter it by. Labels count from the end. */
function plan(condition: Condition, onTrue: number, onFalse: number, jumps: Jump[]): number {
  if ('all' in condition) {
    return condition.all.reduceRight((next, child) => plan(child, next, onFalse, jumps), onTrue);
  }
  if ('any' in condition) {
    return condition.any.reduceRight((next, child) => plan(child, onTrue, next, jumps), onFalse);
  }
  if ('not' in condition) return plan(condition.not, onFalse, onTrue, jumps);
  jumps.push({ clause: condition, onTrue, onFalse });
  return jumps.length - 1;
}

function writeClause(builder: UnitBuilder, node: number, clause: Clause): void {
  if ('segment' in clause) writeSegmentClause(builder, node, clause);
  else writeAttributeClause(builder, node, clause);
}

function writeSegmentClause(builder: UnitBuilder, node: number, clause: SegmentClause): void {
  const { writer } = builder;
  addSegmentClauseCost(builder.cost, clause);
  writer.u8(node + NODE.op, OP.segment);
  writer.u8(node + NODE.bits, clause.negate === true ? NODE_BIT.negate : 0);
  const refs = writer.reserve(clause.segment.length * 4);
  for (const [index, key] of clause.segment.entries()) writer.u32(refs + index * 4, builder.segmentRef(key));
  writer.u32(node + NODE.operand, clause.segment.length === 0 ? 0 : refs);
  writer.u32(node + NODE.count, clause.segment.length);
}
