import { isInBlock } from '../evaluate/cidr.js';
import { compareSemver } from '../evaluate/semver.js';
import type { Condition } from '../flag-model/definitions.js';
import type { AttributeSlot } from './attribute-slot.js';
import type { Builder } from './builder.js';
import { Clause, OP } from './clause.js';
import type { Run } from './run.js';
import { RANK_NONE, Subject } from './subject.js';

/** The first clause of a condition, or where to go at once. Groups cost nothing when it runs (ADR 6 does it alike). */
export type Entry<Exit> = Clause<Exit> | Exit;

/** From the last clause to the first, so that where to go on is known already. */
export function linkCondition<Exit>(
  condition: Condition,
  onTrue: Entry<Exit>,
  onFalse: Entry<Exit>,
  builder: Builder,
): Entry<Exit> {
  if ('all' in condition) {
    return condition.all.reduceRight((next, child) => linkCondition(child, next, onFalse, builder), onTrue);
  }
  if ('any' in condition) {
    return condition.any.reduceRight((next, child) => linkCondition(child, onTrue, next, builder), onFalse);
  }
  if ('not' in condition) return linkCondition(condition.not, onFalse, onTrue, builder);
  const slot =
    'segment' in condition ? undefined : builder.slotOf(condition.contextKind ?? 'user', condition.attribute);
  return new Clause(condition, slot, onTrue, onFalse);
}

/** Goes through clauses up to an exit. Throws an EvaluationStop where the flag that asks cannot go on. */
export function follow<Exit>(entry: Entry<Exit>, run: Run): Exit {
  let next = entry;
  while (next instanceof Clause) next = isTrue(next, run) ? next.onTrue : next.onFalse;
  return next;
}

function isTrue(clause: Clause<unknown>, run: Run): boolean {
  const { slot } = clause;
  if (slot === undefined) return isInAnySegment(clause, run) !== clause.negate;
  const subject = slot.read(run);
  const { value } = subject;
  if (clause.op === OP.exists) {
    run.spend(1);
    return ((value !== undefined) === (clause.mask === 1)) !== clause.negate;
  }
  if (value === undefined) {
    run.spend(1);
    return false;
  }
  if (typeof value === 'object' && Array.isArray(value))
    return matchesAnyElement(clause, slot, value, run) !== clause.negate;
  run.spend(1 + clause.unitCost * (clause.op === OP.matches ? subject.regexUnits : subject.units));
  return matches(clause, slot, subject, run) !== clause.negate;
}

/** Segments are found by key in the revision that is asked: a clause outlives it. */
function isInAnySegment({ text, moreTexts }: Clause<unknown>, run: Run): boolean {
  run.spend(1);
  if (text !== undefined && isInSegment(text, run)) return true;
  for (const key of moreTexts) if (isInSegment(key, run)) return true;
  return false;
}

function isInSegment(key: string, run: Run): boolean {
  run.spend(1);
  return run.segments.get(key)?.holds(run) === true;
}

/** Stands for each element of an array in turn; valid inside one clause. */
const element = new Subject();

function matchesAnyElement(
  clause: Clause<unknown>,
  slot: AttributeSlot,
  values: readonly unknown[],
  run: Run,
): boolean {
  let units = 0;
  for (const value of values) {
    element.set(value);
    units += clause.op === OP.matches ? element.regexUnits : element.units;
  }
  run.spend(1 + clause.unitCost * units);
  for (const value of values) {
    element.set(value);
    if (matches(clause, slot, element, run)) return true;
  }
  return false;
}

/** Does a value that is there match any value of the clause? NaN, which stands for what has no order, is on neither side of a limit. */
function matches(clause: Clause<unknown>, slot: AttributeSlot, subject: Subject, run: Run): boolean {
  switch (clause.op) {
    case OP.in:
      return isAmong(clause, slot, subject);
    case OP.lt:
      return subject.finite < clause.limit;
    case OP.lte:
      return subject.finite <= clause.limit;
    case OP.gt:
      return subject.finite > clause.limit;
    case OP.gte:
      return subject.finite >= clause.limit;
    case OP.before:
      return subject.instant < clause.limit;
    case OP.after:
      return subject.instant > clause.limit;
    case OP.startsWith:
    case OP.endsWith:
    case OP.contains:
      return typeof subject.value === 'string' && matchesText(clause, clause.op, subject.value);
    case OP.startsWithIgnoreCase:
      return subject.folded !== undefined && matchesText(clause, OP.startsWith, subject.folded);
    case OP.endsWithIgnoreCase:
      return subject.folded !== undefined && matchesText(clause, OP.endsWith, subject.folded);
    case OP.containsIgnoreCase:
      return subject.folded !== undefined && matchesText(clause, OP.contains, subject.folded);
    case OP.semverEq:
    case OP.semverLt:
    case OP.semverLte:
    case OP.semverGt:
    case OP.semverGte:
      return matchesVersion(clause, subject);
    case OP.cidr:
      return isInAnyBlock(clause, subject);
    default:
      return clause.op === OP.matches && findsPattern(clause, subject, run);
  }
}

function isAmong({ mask, values }: Clause<unknown>, slot: AttributeSlot, subject: Subject): boolean {
  return mask === 0 ? values.has(subject.value) : ((mask >>> subject.numberIn(slot)) & 1) === 1;
}

/** Longer prefixes than this are compared by the built-in, which costs more to call than a few characters to compare. */
const SHORT_LENGTH = 16;

function matchesText({ text, moreTexts }: Clause<unknown>, op: number, subject: string): boolean {
  if (text !== undefined && matchesOneText(op, subject, text)) return true;
  for (const other of moreTexts) if (matchesOneText(op, subject, other)) return true;
  return false;
}

function matchesOneText(op: number, subject: string, text: string): boolean {
  if (op === OP.startsWith)
    return text.length <= SHORT_LENGTH ? startsWithShort(subject, text) : subject.startsWith(text);
  return op === OP.endsWith ? subject.endsWith(text) : subject.includes(text);
}

function startsWithShort(subject: string, text: string): boolean {
  if (text.length > subject.length) return false;
  for (let index = 0; index < text.length; index++) {
    if (subject.charCodeAt(index) !== text.charCodeAt(index)) return false;
  }
  return true;
}

function matchesVersion(clause: Clause<unknown>, subject: Subject): boolean {
  const { rank } = subject;
  if (rank >= 0 && clause.limit >= 0) return isOrdered(clause.op, rank - clause.limit);
  const { version } = subject;
  if (rank === RANK_NONE || version === undefined) return false;
  return clause.versions.some((operand) => isOrdered(clause.op, compareSemver(version, operand.version)));
}

function isOrdered(op: number, order: number): boolean {
  if (op === OP.semverGte) return order >= 0;
  if (op === OP.semverLt) return order < 0;
  if (op === OP.semverGt) return order > 0;
  return op === OP.semverLte ? order <= 0 : order === 0;
}

function isInAnyBlock({ blocks }: Clause<unknown>, { address }: Subject): boolean {
  return address !== undefined && blocks.some((block) => isInBlock(address, block));
}

function findsPattern({ text, moreTexts }: Clause<unknown>, { regexInput }: Subject, { patterns }: Run): boolean {
  if (text === undefined || regexInput === undefined) return false;
  const finds = (pattern: string): boolean => patterns.find(pattern)?.find(regexInput) ?? false;
  return finds(text) || moreTexts.some(finds);
}
