import { type Json, LIMITS } from '@guidon/protocol';
import { parseCidrBlock } from '../evaluate/cidr.js';
import { parseDateTime } from '../evaluate/date-time.js';
import { compilePattern } from '../evaluate/regex.js';
import { parseSemver } from '../evaluate/semver.js';
import type { Operator } from './definitions.js';
import type { Input } from './input.js';
import { asClauseString } from './keys.js';

type ParseValue = (input: Input) => Json | undefined;

/** The `values` of a clause: at least one, each of a type that the operator takes and readable by it. */
export function asClauseValues(input: Input, op: Operator): readonly Json[] | undefined {
  if (op === 'exists') return asExistsValues(input);
  // Each pattern is compiled below: refuse more of them than a definition may hold before compiling the first.
  const countMax = op === 'matches' ? LIMITS.regexPatternsPerFlag : LIMITS.valuesPerClause;
  const values = input.asList(countMax, PARSE_VALUE[op]);
  return values?.length === 0 ? input.fail('validation-failed', 'must have at least one value') : values;
}

function asExistsValues(input: Input): readonly Json[] | undefined {
  const values = input.asArray(LIMITS.valuesPerClause);
  if (values === undefined) return undefined;
  const [value] = values;
  if (values.length === 1 && typeof value === 'boolean') return [value];
  return input.fail('validation-failed', 'exists takes exactly [true] or [false]');
}

const PARSE_VALUE: Record<Exclude<Operator, 'exists'>, ParseValue> = {
  in: asScalar,
  startsWith: asClauseString,
  endsWith: asClauseString,
  contains: asClauseString,
  startsWithIgnoreCase: asClauseString,
  endsWithIgnoreCase: asClauseString,
  containsIgnoreCase: asClauseString,
  matches: asPattern,
  lt: asFiniteNumber,
  lte: asFiniteNumber,
  gt: asFiniteNumber,
  gte: asFiniteNumber,
  before: asInstant,
  after: asInstant,
  semverEq: asSemverText,
  semverLt: asSemverText,
  semverLte: asSemverText,
  semverGt: asSemverText,
  semverGte: asSemverText,
  cidr: asCidrText,
};

function asScalar(input: Input): Json | undefined {
  if (typeof input.value === 'string') return asClauseString(input);
  if (typeof input.value === 'number') return asFiniteNumber(input);
  if (typeof input.value === 'boolean') return input.value;
  return input.fail('validation-failed', 'must be a string, a number or a boolean');
}

function asFiniteNumber(input: Input): number | undefined {
  const { value } = input;
  if (typeof value === 'number' && Number.isFinite(value)) return value + 0; // -0 becomes 0
  return input.fail('validation-failed', 'must be a finite number');
}

function asInstant(input: Input): Json | undefined {
  const { value } = input;
  if (typeof value === 'number') return asFiniteNumber(input);
  if (typeof value === 'string' && parseDateTime(value) !== undefined) return asClauseString(input);
  return input.fail('validation-failed', 'must be an RFC 3339 date-time with zone, or epoch milliseconds');
}

function asSemverText(input: Input): string | undefined {
  const text = asClauseString(input);
  if (text === undefined || parseSemver(text) !== undefined) return text;
  return input.fail('validation-failed', 'must be a semantic version such as 1.2.3 (no leading v)');
}

function asCidrText(input: Input): string | undefined {
  const text = asClauseString(input);
  if (text === undefined || parseCidrBlock(text) !== undefined) return text;
  return input.fail('validation-failed', 'must be an IPv4 or IPv6 address or block such as 10.0.0.0/8');
}

function asPattern(input: Input): string | undefined {
  const text = input.asString();
  if (text === undefined || compilePattern(text) !== undefined) return text;
  const detail = `must be an RE2 pattern of at most ${LIMITS.regexPatternUnits} characters that does not repeat too much`;
  return input.fail('unsafe-regex', detail);
}
