import type { Json } from '@guidon/protocol';
import { foldCase } from '../evaluate/case-folding.js';
import { type CidrBlock, parseCidrBlock } from '../evaluate/cidr.js';
import { parseSemver } from '../evaluate/semver.js';
import type { AttributeClause, Operator, SegmentClause } from '../flag-model/definitions.js';
import { type AttributeSlot, VALUE_NUMBER_MAX } from './attribute-slot.js';
import { instantOf, rankOf, type Version } from './subject.js';

/** Numbers, so that the loop over clauses branches by a table. */
export const OP = {
  in: 0,
  startsWith: 1,
  endsWith: 2,
  contains: 3,
  startsWithIgnoreCase: 4,
  endsWithIgnoreCase: 5,
  containsIgnoreCase: 6,
  matches: 7,
  lt: 8,
  lte: 9,
  gt: 10,
  gte: 11,
  before: 12,
  after: 13,
  semverEq: 14,
  semverLt: 15,
  semverLte: 16,
  semverGt: 17,
  semverGte: 18,
  cidr: 19,
  exists: 20,
  segment: 21,
} as const satisfies Readonly<Record<Operator | 'segment', number>>;

const NO_VALUES: ReadonlySet<unknown> = new Set();
const NONE: readonly never[] = [];

/**
 * A clause made ready, with the way on from it. One class for all operators, so that the loop over clauses always meets the same shape,
 * and what the common case needs lies in the object itself: a large environment is read from memory, not from the caches.
 * Members that the operator does not use are empty.
 */
export class Clause<Exit> {
  readonly op: number;
  readonly negate: boolean;
  /** Undefined for a segment clause, which reads no attribute. */
  readonly slot: AttributeSlot | undefined;
  /** Fuel per unit of what is looked at. */
  readonly unitCost: number;
  readonly onTrue: Clause<Exit> | Exit;
  readonly onFalse: Clause<Exit> | Exit;
  /** Order operators: the greatest or the least of the values, which is the one that decides. Versions: the rank of a single one. */
  readonly limit: number;
  /** `in`: bit n for the value with number n in the slot; 0 when some of them have no number. `exists`: 1 for `[true]`. */
  readonly mask: number;
  /** `in` without a mask. */
  readonly values: ReadonlySet<unknown>;
  /** Text operators: values (folded where case is ignored). `matches`: patterns. Segment clauses: keys. The first one, and the others. */
  readonly text: string | undefined;
  readonly moreTexts: readonly string[];
  readonly versions: readonly Version[];
  readonly blocks: readonly CidrBlock[];

  constructor(
    clause: AttributeClause | SegmentClause,
    slot: AttributeSlot | undefined,
    onTrue: Clause<Exit> | Exit,
    onFalse: Clause<Exit> | Exit,
  ) {
    const { op, values } = 'segment' in clause ? { op: 'segment' as const, values: clause.segment } : clause;
    const texts = textsOf(op, values);
    this.op = OP[op];
    this.negate = clause.negate ?? false;
    this.slot = slot;
    this.unitCost = op === 'in' ? 1 : values.length;
    this.onTrue = onTrue;
    this.onFalse = onFalse;
    this.mask = maskOf(op, values, slot);
    this.values = op === 'in' && this.mask === 0 ? new Set(values) : NO_VALUES;
    this.text = texts[0];
    this.moreTexts = texts.length > 1 ? texts.slice(1) : NONE;
    this.versions = op.startsWith('semver') ? texts.flatMap(versionsOf) : NONE;
    this.blocks = op === 'cidr' ? texts.map(parseCidrBlock).filter((block) => block !== undefined) : NONE;
    const [only] = this.versions;
    this.limit = only !== undefined && this.versions.length === 1 ? only.rank : limitOf(op, values);
  }
}

function textsOf(op: string, values: readonly Json[]): string[] {
  const texts = values.filter((value) => typeof value === 'string');
  return op.endsWith('IgnoreCase') ? texts.map(foldCase) : texts;
}

function maskOf(op: string, values: readonly Json[], slot: AttributeSlot | undefined): number {
  if (op === 'exists') return values[0] === true ? 1 : 0;
  if (op !== 'in' || slot === undefined || values.length > VALUE_NUMBER_MAX) return 0;
  const numbers = values.map((value) => slot.numberOf(value));
  if (numbers.includes(Number.POSITIVE_INFINITY)) return 0;
  return numbers.reduce((mask, number) => mask | (1 << number), 0);
}

function versionsOf(text: string): Version[] {
  const version = parseSemver(text);
  return version === undefined ? [] : [{ rank: rankOf(text), version }];
}

/** Below any of several numbers is below the greatest of them. Without a number nothing is below or above. */
function limitOf(op: string, values: readonly Json[]): number {
  if (op === 'lt' || op === 'lte') return Math.max(...numbersOf(values));
  if (op === 'gt' || op === 'gte') return Math.min(...numbersOf(values));
  if (op !== 'before' && op !== 'after') return -1;
  const instants = values.map(instantOf).filter((value) => value !== undefined);
  return op === 'before' ? Math.max(...instants) : Math.min(...instants);
}

function numbersOf(values: readonly Json[]): number[] {
  return values.filter((value) => typeof value === 'number');
}
