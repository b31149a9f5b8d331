import { type Definition, type FlagSet, segmentReferencesOf } from '@guidon/engine/in-process';

interface Compared {
  /** Held weakly, or every revision there ever was would stay. */
  readonly previous: WeakRef<FlagSet>;
  readonly flagKeys: ReadonlySet<string>;
}

/** By the later one: what it was compared with last. Clients of one thread go from one revision to the next together. */
const compared = new WeakMap<FlagSet, Compared>();

/** Keys of the flags whose answers may differ between two revisions: their definition is another one, or that of something they ask. */
export function changedFlags(previous: FlagSet | undefined, next: FlagSet): ReadonlySet<string> {
  if (previous === undefined) return compare(previous, next);
  const known = compared.get(next);
  if (known?.previous.deref() === previous) return known.flagKeys;
  const flagKeys = compare(previous, next);
  compared.set(next, { previous: new WeakRef(previous), flagKeys });
  return flagKeys;
}

function compare(previous: FlagSet | undefined, next: FlagSet): ReadonlySet<string> {
  const changed = new Set<string>();
  const pending = [
    ...differing(previous?.flags, next.flags).map((key) => `flag ${key}`),
    ...differing(previous?.segments, next.segments).map((key) => `segment ${key}`),
    ...changedChunks(previous, next).map((key) => `segment ${key}`),
  ];
  if (pending.length === 0) return changed;
  const askers = askersOf(next);
  const seen = new Set<string>();
  for (let name = pending.pop(); name !== undefined; name = pending.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    if (name.startsWith('flag ')) changed.add(name.slice('flag '.length));
    pending.push(...(askers.get(name) ?? []));
  }
  return changed;
}

/** Keys that have another definition, a new one, or none any more. */
function differing(
  previous: ReadonlyMap<string, Definition> | undefined,
  next: ReadonlyMap<string, Definition>,
): string[] {
  const keys = [...next].filter(([key, definition]) => previous?.get(key) !== definition).map(([key]) => key);
  for (const key of previous?.keys() ?? []) if (!next.has(key)) keys.push(key);
  return keys;
}

/** Segments whose lists have changed. */
function changedChunks(previous: FlagSet | undefined, next: FlagSet): string[] {
  return differing(previous?.segmentKeys, next.segmentKeys).flatMap((key) => {
    const chunk = next.segmentKeys.get(key) ?? previous?.segmentKeys.get(key);
    return chunk === undefined ? [] : [chunk.segment];
  });
}

/** By name: the flags and segments that ask it. */
function askersOf({ flags, segments }: FlagSet): ReadonlyMap<string, readonly string[]> {
  const askers = new Map<string, string[]>();
  const add = (asked: string, asker: string): void => {
    const known = askers.get(asked);
    if (known === undefined) askers.set(asked, [asker]);
    else known.push(asker);
  };
  for (const flag of flags.values()) {
    for (const prerequisite of flag.prerequisites) add(`flag ${prerequisite.flag}`, `flag ${flag.key}`);
    for (const { segment } of segmentReferencesOf(flag)) add(`segment ${segment}`, `flag ${flag.key}`);
  }
  for (const definition of segments.values()) {
    for (const { segment } of segmentReferencesOf(definition)) add(`segment ${segment}`, `segment ${definition.key}`);
  }
  return askers;
}
