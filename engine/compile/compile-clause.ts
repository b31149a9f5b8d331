import { type Json, PlatformError } from '@guidon/protocol';
import { parseAttributePath } from '../evaluate/attribute-path.js';
import { compilePattern } from '../evaluate/regex.js';
import { parseSemver } from '../evaluate/semver.js';
import type { AttributeClause, Operator } from '../flag-model/definitions.js';
import type { ByteWriter } from './byte-writer.js';
import { asNumber, asText, instantOf, packSemver, writeOperand } from './compile-operand.js';
import { addAttributeClauseCost } from './condition-cost.js';
import { NODE, NODE_BIT, NODE_TEXT_BYTES_MAX, OP, OUTCOME, SHORT_PAIR, SHORT_PAIRS_MAX } from './layout.js';
import type { UnitBuilder } from './unit-builder.js';

const encoder = new TextEncoder();

/** How the kernel runs each operator: its code and, where values are ordered, the outcomes that hold. */
const CODES: Readonly<Record<Operator, { readonly op: number; readonly outcomes?: number }>> = {
  in: { op: OP.in },
  startsWith: { op: OP.startsWith },
  endsWith: { op: OP.endsWith },
  contains: { op: OP.contains },
  startsWithIgnoreCase: { op: OP.startsWithIgnoreCase },
  endsWithIgnoreCase: { op: OP.endsWithIgnoreCase },
  containsIgnoreCase: { op: OP.containsIgnoreCase },
  matches: { op: OP.matches },
  lt: { op: OP.order, outcomes: OUTCOME.less },
  lte: { op: OP.order, outcomes: OUTCOME.less | OUTCOME.equal },
  gt: { op: OP.order, outcomes: OUTCOME.greater },
  gte: { op: OP.order, outcomes: OUTCOME.greater | OUTCOME.equal },
  before: { op: OP.instant, outcomes: OUTCOME.less },
  after: { op: OP.instant, outcomes: OUTCOME.greater },
  semverEq: { op: OP.semver, outcomes: OUTCOME.equal },
  semverLt: { op: OP.semver, outcomes: OUTCOME.less },
  semverLte: { op: OP.semver, outcomes: OUTCOME.less | OUTCOME.equal },
  semverGt: { op: OP.semver, outcomes: OUTCOME.greater },
  semverGte: { op: OP.semver, outcomes: OUTCOME.greater | OUTCOME.equal },
  cidr: { op: OP.cidr },
  exists: { op: OP.exists },
};

/** Fills the NODE of a clause on an attribute and appends its operand. */
export function writeAttributeClause(builder: UnitBuilder, node: number, clause: AttributeClause): void {
  const { writer } = builder;
  const path = parseAttributePath(clause.attribute);
  if (path === undefined) throw new PlatformError('validation-failed', 'an attribute is no valid path');
  if (!Object.hasOwn(CODES, clause.op)) throw new PlatformError('validation-failed', `unknown operator '${clause.op}'`);
  const source = sourceOf(clause.attribute, path);
  writer.u8(node + NODE.bits, source | (clause.negate === true ? NODE_BIT.negate : 0));
  writer.u8(node + NODE.outcomes, CODES[clause.op].outcomes ?? 0);
  if (source === 0) writer.u32(node + NODE.slot, builder.slotRef(clause.contextKind, path));
  const firstPattern = builder.patterns.length;
  addAttributeClauseCost(builder.cost, clause, clause.op === 'matches' ? addPatterns(builder, clause) : []);
  if (source === 0 && writeOneValue(writer, node, clause)) return;
  writer.u8(node + NODE.op, CODES[clause.op].op);
  writer.u32(node + NODE.operand, writeOperand(writer, clause.op, clause.values));
  writer.u32(node + NODE.count, clause.values.length);
  if (clause.op === 'exists') writer.u32(node + NODE.argument, clause.values[0] === true ? 1 : 0);
  if (clause.op === 'matches') writer.u32(node + NODE.argument, firstPattern);
  if (source === NODE_BIT.now) addInstants(builder, clause);
}

/** `@now` and the list of kinds are not in the context. */
function sourceOf(attribute: string, path: readonly string[]): number {
  if (attribute === '@now') return NODE_BIT.now;
  return path.length === 1 && path[0] === 'kind' ? NODE_BIT.kinds : 0;
}

/** The commonest clauses have operators of their own; false when this is not one of them. */
function writeOneValue(writer: ByteWriter, node: number, { op, values }: AttributeClause): boolean {
  if (op === 'in') return writeFewTexts(writer, node, values);
  const [value, ...others] = values;
  if (value === undefined || others.length > 0) return false;
  switch (op) {
    case 'startsWith':
      return writeNodeText(writer, node, OP.startsWithOne, asText(value));
    case 'endsWith':
      return writeNodeText(writer, node, OP.endsWithOne, asText(value));
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte': {
      const number = asNumber(value);
      if (number === undefined) return false;
      writer.u8(node + NODE.op, OP.orderOne);
      writer.f64(node + NODE.value, number);
      return true;
    }
    case 'semverEq':
    case 'semverLt':
    case 'semverLte':
    case 'semverGt':
    case 'semverGte': {
      const version = typeof value === 'string' ? parseSemver(value) : undefined;
      const packed = version === undefined ? undefined : packSemver(version);
      if (packed === undefined) return false;
      writer.u8(node + NODE.op, OP.semverOne);
      writer.u64(node + NODE.value, packed);
      writer.u32(node + NODE.operand, writeOperand(writer, op, values));
      return true;
    }
    default:
      return false;
  }
}

function writeNodeText(writer: ByteWriter, node: number, op: number, text: string | undefined): boolean {
  if (text === undefined || text.length > NODE_TEXT_BYTES_MAX) return false;
  const bytes = encoder.encode(text);
  if (bytes.length > NODE_TEXT_BYTES_MAX) return false;
  writer.u8(node + NODE.op, op);
  writer.u8(node + NODE.size, bytes.length);
  writer.set(node + NODE.value, bytes);
  return true;
}

/** `in` with nothing but one string, or a few short ones. */
function writeFewTexts(writer: ByteWriter, node: number, values: readonly Json[]): boolean {
  if (values.length > SHORT_PAIRS_MAX * 2) return false;
  const texts = [...new Set(values)].map(asText);
  if (texts.length === 1) return writeNodeText(writer, node, OP.inText, texts[0]);
  const strings = texts.map((text) => encoder.encode(text));
  if (texts.includes(undefined) || strings.some((bytes) => bytes.length > SHORT_PAIR.textBytesMax)) return false;
  const [first] = strings;
  if (first === undefined) return false;
  // The first one once more fills up the last pair.
  if (strings.length % 2 === 1) strings.push(first);
  const pairs = writer.reserve(strings.length * 8, SHORT_PAIR.bytes);
  for (const [index, bytes] of strings.entries()) {
    writer.set(pairs + index * 8, bytes);
    writer.u8(pairs + index * 8 + SHORT_PAIR.textBytesMax, bytes.length);
  }
  writer.u8(node + NODE.op, OP.inShort);
  writer.u8(node + NODE.size, strings.length / 2);
  writer.u32(node + NODE.operand, pairs);
  return true;
}

/** Returns the instructions of each. */
function addPatterns(builder: UnitBuilder, clause: AttributeClause): number[] {
  return clause.values.map((value) => {
    const pattern = typeof value === 'string' ? compilePattern(value) : undefined;
    if (typeof value !== 'string' || pattern === undefined) {
      throw new PlatformError('unsafe-regex', 'a pattern is not accepted');
    }
    builder.patterns.push(value);
    return pattern.programSize;
  });
}

/** The first whole millisecond at which the clause answers differently: `before t` stops at t, `after t` starts past t. */
function addInstants(builder: UnitBuilder, clause: AttributeClause): void {
  for (const value of clause.values) {
    const instant = instantOf(value);
    if (instant !== undefined)
      builder.instants.push(clause.op === 'before' ? Math.ceil(instant) : Math.floor(instant) + 1);
  }
}
