import type { Json } from '@guidon/protocol';
import type { Operator } from '../flag-model/definitions.js';
import { foldCase } from './case-folding.js';
import { isInBlock, parseCidrBlock, parseIpAddress } from './cidr.js';
import { parseDateTime } from './date-time.js';
import { cutRegexInput, type PatternCache } from './regex.js';
import { compareSemver, parseSemver } from './semver.js';

/** Does one attribute value (an element of an array, or the whole attribute) match one value of the clause? Types must agree. */
export function matchesValue(op: Operator, seen: unknown, value: Json, patterns: PatternCache): boolean {
  switch (op) {
    case 'in':
      return isScalar(seen) && seen === value;
    case 'startsWith':
    case 'endsWith':
    case 'contains':
      return matchesText(op, seen, value);
    case 'startsWithIgnoreCase':
      return matchesText('startsWith', folded(seen), folded(value));
    case 'endsWithIgnoreCase':
      return matchesText('endsWith', folded(seen), folded(value));
    case 'containsIgnoreCase':
      return matchesText('contains', folded(seen), folded(value));
    case 'matches':
      return typeof seen === 'string' && typeof value === 'string' && findsPattern(seen, value, patterns);
    case 'lt':
    case 'lte':
    case 'gt':
    case 'gte':
      return matchesOrder(op, compareNumbers(finiteNumber(seen), finiteNumber(value)));
    case 'before':
      return matchesOrder('lt', compareNumbers(instant(seen), instant(value)));
    case 'after':
      return matchesOrder('gt', compareNumbers(instant(seen), instant(value)));
    case 'semverEq':
    case 'semverLt':
    case 'semverLte':
    case 'semverGt':
    case 'semverGte':
      return matchesOrder(SEMVER_ORDER[op], compareVersions(seen, value));
    case 'cidr':
      return isAddressInBlock(seen, value);
    case 'exists':
      return false; // decided by presence alone, in condition.ts
  }
}

const SEMVER_ORDER = { semverEq: 'eq', semverLt: 'lt', semverLte: 'lte', semverGt: 'gt', semverGte: 'gte' } as const;

function isScalar(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function matchesText(op: 'startsWith' | 'endsWith' | 'contains', seen: unknown, value: unknown): boolean {
  if (typeof seen !== 'string' || typeof value !== 'string') return false;
  if (op === 'startsWith') return seen.startsWith(value);
  return op === 'endsWith' ? seen.endsWith(value) : seen.includes(value);
}

function folded(value: unknown): unknown {
  return typeof value === 'string' ? foldCase(value) : value;
}

function findsPattern(seen: string, pattern: string, patterns: PatternCache): boolean {
  return patterns.find(pattern)?.find(cutRegexInput(seen).input) ?? false;
}

/** `order` is negative, 0 or positive; undefined (a side that cannot be compared) matches nothing. */
function matchesOrder(op: 'eq' | 'lt' | 'lte' | 'gt' | 'gte', order: number | undefined): boolean {
  if (order === undefined) return false;
  if (op === 'eq') return order === 0;
  if (op === 'lt') return order < 0;
  if (op === 'lte') return order <= 0;
  return op === 'gt' ? order > 0 : order >= 0;
}

function finiteNumber(value: unknown): number | undefined {
  return typeof value === 'number' && Number.isFinite(value) ? value : undefined;
}

function compareNumbers(a: number | undefined, b: number | undefined): number | undefined {
  if (a === undefined || b === undefined) return undefined;
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

function instant(value: unknown): number | undefined {
  return typeof value === 'string' ? parseDateTime(value) : finiteNumber(value);
}

function compareVersions(seen: unknown, value: Json): number | undefined {
  const a = typeof seen === 'string' ? parseSemver(seen) : undefined;
  const b = typeof value === 'string' ? parseSemver(value) : undefined;
  return a && b && compareSemver(a, b);
}

function isAddressInBlock(seen: unknown, value: Json): boolean {
  const address = typeof seen === 'string' ? parseIpAddress(seen) : undefined;
  const block = typeof value === 'string' ? parseCidrBlock(value) : undefined;
  return address !== undefined && block !== undefined && isInBlock(address, block);
}
