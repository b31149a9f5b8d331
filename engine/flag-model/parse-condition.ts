import { LIMITS } from '@guidon/protocol';
import { parseAttributePath } from '../evaluate/attribute-path.js';
import { type AttributeClause, type Clause, type Condition, OPERATORS, type SegmentClause } from './definitions.js';
import type { Input, ObjectInput } from './input.js';
import { asClauseString, asContextKind, asKey } from './keys.js';
import { asClauseValues } from './parse-clause-values.js';

/** Counts what one definition may hold only so much of, over all of its rules. */
export class DefinitionCounts {
  regexClauseCount = 0;
  regexPatternCount = 0;
}

interface ConditionCounts {
  readonly definition: DefinitionCounts;
  clauseCount: number;
  nodeCount: number;
}

/** The condition of one rule. */
export function asCondition(input: Input, definition: DefinitionCounts): Condition | undefined {
  const counts: ConditionCounts = { definition, clauseCount: 0, nodeCount: 0 };
  const condition = asNode(input, counts, 1);
  if (counts.clauseCount > LIMITS.clausesPerRule) {
    return input.fail('limit-exceeded', `a rule has at most ${LIMITS.clausesPerRule} clauses`);
  }
  if (counts.nodeCount > LIMITS.conditionNodesPerRule) {
    return input.fail('limit-exceeded', `a condition has at most ${LIMITS.conditionNodesPerRule} nodes`);
  }
  return condition;
}

const SHAPES = ['all', 'any', 'not', 'segment', 'attribute'] as const;
type Shape = (typeof SHAPES)[number];

const MEMBERS: Record<Shape, readonly string[]> = {
  all: ['all'],
  any: ['any'],
  not: ['not'],
  segment: ['segment', 'negate'],
  attribute: ['contextKind', 'attribute', 'op', 'values', 'negate'],
};

/** A clause has depth 1, each all/any/not around it 1 more; `level` counts from the root, so a leaf at level n makes depth n. */
function asNode(input: Input, counts: ConditionCounts, level: number): Condition | undefined {
  counts.nodeCount++;
  if (level > LIMITS.conditionDepth) {
    return input.fail('limit-exceeded', `a condition nests at most ${LIMITS.conditionDepth} deep`);
  }
  const shape = findShape(input);
  const members = shape === undefined ? undefined : input.asObject(MEMBERS[shape]);
  if (shape === undefined || members === undefined) return undefined;
  if (shape === 'not') {
    const condition = members.read('not', (member) => asNode(member, counts, level + 1));
    return condition === undefined ? undefined : { not: condition };
  }
  if (shape === 'all' || shape === 'any') {
    const conditions = members.read(shape, (member) =>
      member.asList(LIMITS.conditionNodesPerRule, (element) => asNode(element, counts, level + 1)),
    );
    if (conditions === undefined) return undefined;
    return shape === 'all' ? { all: conditions } : { any: conditions };
  }
  counts.clauseCount++;
  return shape === 'segment' ? asSegmentClause(members) : asAttributeClause(members, counts.definition);
}

function findShape(input: Input): Shape | undefined {
  const { value } = input;
  const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
  const [shape, ...others] = isObject ? SHAPES.filter((name) => Object.hasOwn(value, name)) : [];
  if (shape !== undefined && others.length === 0) return shape;
  return input.fail('validation-failed', 'a condition has exactly one of all, any, not, segment, attribute');
}

function asSegmentClause(members: ObjectInput): SegmentClause | undefined {
  const segment = members.read('segment', (member) => member.asList(LIMITS.segmentsPerClause, asKey));
  const negate = members.readOptional('negate', (member) => member.asBoolean());
  return segment && { segment, ...(negate === undefined ? {} : { negate }) };
}

function asAttributeClause(members: ObjectInput, counts: DefinitionCounts): Clause | undefined {
  const contextKind = members.readOptional('contextKind', asContextKind);
  const attribute = members.read('attribute', asAttributePathText);
  const op = members.read('op', (member) => asOperator(member, attribute));
  const values = op && members.read('values', (member) => asClauseValues(member, op));
  const negate = members.readOptional('negate', (member) => member.asBoolean());
  if (op === 'matches') {
    counts.regexClauseCount++;
    counts.regexPatternCount += values?.length ?? 0;
  }
  if (attribute === undefined || op === undefined || values === undefined) return undefined;
  const clause: AttributeClause = {
    ...(contextKind === undefined ? {} : { contextKind }),
    attribute,
    op,
    values,
    ...(negate === undefined ? {} : { negate }),
  };
  return clause;
}

function asOperator(input: Input, attribute: string | undefined): AttributeClause['op'] | undefined {
  const op = input.asOneOf(OPERATORS);
  if (attribute !== '@now' || op === undefined || op === 'before' || op === 'after') return op;
  return input.fail('validation-failed', '@now is compared with before and after only');
}

export function asAttributePathText(input: Input): string | undefined {
  const text = asClauseString(input);
  if (text === undefined || parseAttributePath(text) !== undefined) return text;
  return input.fail('validation-failed', 'must be an attribute name, or a JSON pointer (RFC 6901) that starts with /');
}

/** Adds the issues of a definition whose rules together hold too many regexes. */
export function checkRegexCounts(input: Input, counts: DefinitionCounts): void {
  if (counts.regexClauseCount > LIMITS.regexClausesPerFlag) {
    input.fail('limit-exceeded', `at most ${LIMITS.regexClausesPerFlag} clauses use matches`);
  }
  if (counts.regexPatternCount > LIMITS.regexPatternsPerFlag) {
    input.fail('limit-exceeded', `all matches clauses together have at most ${LIMITS.regexPatternsPerFlag} patterns`);
  }
}
