import { type EnvironmentRef, type Issue, PlatformError } from '@guidon/protocol';
import { checkFlagSet } from '../flag-model/check-flag-set.js';
import type {
  Definition,
  FlagDefinition,
  FlagSet,
  SegmentDefinition,
  SegmentKeysDefinition,
} from '../flag-model/definitions.js';
import { pointerTo } from '../flag-model/input.js';
import { compareUtf8 } from '../flag-model/text.js';
import { ByteWriter } from './byte-writer.js';
import { type CompiledFlag, compileFlag } from './compile-flag.js';
import { compileRoot, type RootInput, type SegmentKeyList } from './compile-root.js';
import {
  type CompiledSegment,
  type CompiledSegmentKeys,
  compileSegment,
  compileSegmentKeys,
} from './compile-segment.js';
import type { BlockId } from './compiled-unit.js';
import { FlagCosts } from './flag-cost.js';
import { SlotInterner } from './slot-table.js';
import { UnitBuilder } from './unit-builder.js';

/** The bytes of one environment at one revision. Immutable; equal blocks of different revisions are the same bytes under one id. */
export interface CompiledSnapshot {
  readonly environment: EnvironmentRef;
  readonly revision: number;
  readonly root: Uint8Array;
  readonly blocks: ReadonlyMap<BlockId, Uint8Array>;
}

/** A compiled flag set together with what the next compile need not do again. Immutable. */
export interface CompiledEnvironment {
  readonly flagSet: FlagSet;
  readonly snapshot: CompiledSnapshot;
  /** Owned by the compiler. */
  readonly units: CompiledUnits;
}

export interface CompiledUnits {
  readonly interner: SlotInterner;
  /** Sorted by key bytes. */
  readonly flags: readonly CompiledFlag[];
  readonly segments: readonly CompiledSegment[];
  readonly segmentKeys: ReadonlyMap<string, CompiledSegmentKeys>;
  /** How many of all these were compiled, and not taken from what was there before. */
  readonly newCount: number;
}

/**
 * Compiles a flag set to snapshot bytes. Pure: the same definitions, environment and revision give the same bytes, whether or not
 * `previous` is given; definitions that are the same object as in `previous.flagSet` are not compiled again. Where something is
 * wrong nothing is compiled and the issues are listed, their pointers starting with `/flags/<key>` or `/segments/<key>`. `interner`:
 * that of another compile, whose slots can then be compared with these; only without `previous`.
 */
export function compileSnapshot(
  flagSet: FlagSet,
  options: { environment: EnvironmentRef; revision: number; previous?: CompiledEnvironment; interner?: SlotInterner },
): { compiled?: CompiledEnvironment; issues: Issue[] } {
  const { environment, revision, previous, interner = previous?.units.interner ?? new SlotInterner() } = options;
  const issues = checkFlagSet(flagSet, previous && changedSince(previous.flagSet, flagSet));
  if (issues.length > 0) return { issues };
  const units = compileUnits(flagSet, interner, previous?.units, issues);
  if (issues.length > 0) return { issues };
  const lists = collectLists(units.segmentKeys);
  const listsOf = (list: 'included' | 'excluded', key: string): readonly SegmentKeyList[] =>
    lists.get(`${list}/${key}`) ?? [];
  const listCount = (key: string): number => listsOf('included', key).length + listsOf('excluded', key).length;
  const costs = new FlagCosts(units.flags, units.segments, listCount);
  const input: RootInput = {
    environment,
    revision,
    interner: units.interner,
    flags: units.flags,
    segments: units.segments,
    included: (key) => listsOf('included', key),
    excluded: (key) => listsOf('excluded', key),
    flagCost: (flag) => costs.costOf(flag),
  };
  try {
    const { root, blocks } = compileRoot(input);
    return { compiled: { flagSet, snapshot: { environment, revision, root, blocks }, units }, issues };
  } catch (error) {
    if (!(error instanceof PlatformError)) throw error;
    return { issues: [{ pointer: '', code: error.code, detail: error.message }] };
  }
}

/** The definitions that the check of `previous` has not seen. */
function changedSince(previous: FlagSet, flagSet: FlagSet): Set<Definition> {
  const changed = new Set<Definition>();
  for (const [key, flag] of flagSet.flags) if (previous.flags.get(key) !== flag) changed.add(flag);
  for (const [key, segment] of flagSet.segments) if (previous.segments.get(key) !== segment) changed.add(segment);
  for (const [key, chunk] of flagSet.segmentKeys) if (previous.segmentKeys.get(key) !== chunk) changed.add(chunk);
  return changed;
}

/** Compiles what is not there yet. Issues are collected, so that one call names all of them. */
function compileUnits(
  flagSet: FlagSet,
  interner: SlotInterner,
  previous: CompiledUnits | undefined,
  issues: Issue[],
): CompiledUnits {
  const writer = new ByteWriter();
  let newCount = 0;
  const builder = (): UnitBuilder => {
    newCount += 1;
    return new UnitBuilder(writer, interner);
  };
  const flags = compileSorted(previous?.flags ?? [], flagSet.flags, issues, (definition: FlagDefinition) =>
    compileFlag(builder(), definition),
  );
  const segments = compileSorted(previous?.segments ?? [], flagSet.segments, issues, (definition: SegmentDefinition) =>
    compileSegment(builder(), definition),
  );
  const segmentKeys = new Map<string, CompiledSegmentKeys>();
  for (const [key, definition] of flagSet.segmentKeys) {
    const known = previous?.segmentKeys.get(key);
    const isKnown = known?.definition === definition;
    if (!isKnown) newCount += 1;
    segmentKeys.set(key, isKnown ? known : compileSegmentKeys(writer, definition));
  }
  return { interner, flags, segments, segmentKeys, newCount };
}

interface Keyed {
  readonly kind: string;
  readonly key: string;
}

function compileSorted<D extends Keyed, U extends { readonly definition: D }>(
  previous: readonly U[],
  definitions: ReadonlyMap<string, D>,
  issues: Issue[],
  compile: (definition: D) => U,
): U[] {
  const units: U[] = [];
  const compileInto = (definition: D): void => {
    try {
      units.push(compile(definition));
    } catch (error) {
      if (!(error instanceof PlatformError)) throw error;
      const pointer = pointerTo(definition.kind === 'flag' ? '/flags' : '/segments', definition.key);
      issues.push({ pointer, code: error.code, detail: error.message });
    }
  };
  let keptCount = 0;
  for (const unit of previous) {
    const definition = definitions.get(unit.definition.key);
    if (definition === undefined) continue;
    keptCount += 1;
    if (definition === unit.definition) units.push(unit);
    else compileInto(definition);
  }
  if (keptCount === definitions.size) return units;
  const known = new Set(previous.map((unit) => unit.definition.key));
  for (const [key, definition] of definitions) if (!known.has(key)) compileInto(definition);
  return units.sort((a, b) => compareUtf8(a.definition.key, b.definition.key));
}

/** Key lists by `included/<segment>` and `excluded/<segment>`: kinds in byte order, chunks ascending by prefix. */
function collectLists(units: ReadonlyMap<string, CompiledSegmentKeys>): Map<string, SegmentKeyList[]> {
  const sorted = [...units.values()].sort((a, b) => compareChunks(a.definition, b.definition));
  const lists = new Map<string, { contextKind: string; chunks: CompiledSegmentKeys[] }[]>();
  for (const unit of sorted) {
    const { list, segment, contextKind } = unit.definition;
    const name = `${list}/${segment}`;
    const ofSegment = lists.get(name) ?? [];
    lists.set(name, ofSegment);
    const last = ofSegment.at(-1);
    if (last?.contextKind === contextKind) last.chunks.push(unit);
    else ofSegment.push({ contextKind, chunks: [unit] });
  }
  return lists;
}

function compareChunks(a: SegmentKeysDefinition, b: SegmentKeysDefinition): number {
  return (
    compareUtf8(a.segment, b.segment) || compareUtf8(a.contextKind, b.contextKind) || compareUtf8(a.prefix, b.prefix)
  );
}
