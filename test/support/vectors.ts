import type { FlagDefinition, Result, SegmentDefinition, SegmentKeysDefinition } from '@guidon/engine';

/** One file of test/vectors. The format is described in test/vectors/README.md. */
export interface VectorFile {
  readonly description: string;
  readonly flags: readonly FlagDefinition[];
  readonly segments: readonly SegmentDefinition[];
  readonly segmentKeys: readonly SegmentKeysDefinition[];
  readonly cases: readonly VectorCase[];
}

export interface VectorCase {
  readonly name: string;
  /** The flag asked. */
  readonly flag: string;
  readonly context: unknown;
  /** Epoch milliseconds; 0 when absent. */
  readonly now?: number;
  readonly clientSideOnly?: boolean;
  readonly expected: Result;
}

/** JSON has no NaN, no infinities and loses -0: `{"$number": "NaN"}` stands for them in contexts. */
export function withNumbers(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withNumbers);
  if (Object.hasOwn(value, '$number')) return Number((value as Record<string, unknown>).$number);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withNumbers(member)]));
}

/** The reverse of withNumbers. */
export function withoutNumbers(value: unknown): unknown {
  if (typeof value === 'number' && (!Number.isFinite(value) || Object.is(value, -0))) {
    return { $number: Object.is(value, -0) ? '-0' : String(value) };
  }
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(withoutNumbers);
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withoutNumbers(member)]));
}
