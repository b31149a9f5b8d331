import { type Issue, LIMITS } from '@guidon/protocol';
import { hashText } from '../evaluate/bucket.js';
import {
  type Definition,
  type FlagDefinition,
  type FlagSet,
  isServable,
  type SegmentDefinition,
  type SegmentKeysDefinition,
} from './definitions.js';
import { ISSUE_COUNT_MAX, pointerTo } from './input.js';
import { checkReferenceGraph, type ReferenceGraph } from './reference-graph.js';
import { segmentReferencesOf } from './segment-references.js';

/**
 * What must hold across the definitions of one environment, each of which has been parsed. Missing prerequisite flags and segments
 * are no issue here (a missing one fails, or has no members): see findDanglingReferences.
 *
 * `changed`: the definitions that an earlier check of the rest has not seen. Only their keys are hashed again; everything else costs
 * one step per definition or reference. Without it all keys are. At most ISSUE_COUNT_MAX issues.
 */
export function checkFlagSet(flagSet: FlagSet, changed?: ReadonlySet<Definition>): Issue[] {
  return [
    ...checkCounts(flagSet),
    ...checkPrerequisiteVariations(flagSet),
    ...checkReferenceGraph(flagGraph(flagSet), {
      noun: 'flag',
      pointerOf: (key) => `${pointerTo('/flags', key)}/prerequisites`,
    }),
    ...checkReferenceGraph(segmentGraph(flagSet), {
      noun: 'segment',
      pointerOf: (key) => `${pointerTo('/segments', key)}/rules`,
    }),
    ...checkChunks(flagSet, changed),
  ].slice(0, ISSUE_COUNT_MAX);
}

/** References to flags, variations and segments that do not exist. The admin API refuses a write that makes one. */
export function findDanglingReferences(flagSet: FlagSet): Issue[] {
  const issues = checkPrerequisiteVariations(flagSet);
  for (const flag of flagSet.flags.values()) {
    for (const [index, prerequisite] of flag.prerequisites.entries()) {
      if (flagSet.flags.has(prerequisite.flag)) continue;
      const pointer = `${pointerTo('/flags', flag.key)}/prerequisites/${index}/flag`;
      issues.push(dangling(pointer, `there is no flag ${prerequisite.flag}`));
    }
    issues.push(...findMissingSegments(flag, '/flags', flagSet));
  }
  for (const segment of flagSet.segments.values()) issues.push(...findMissingSegments(segment, '/segments', flagSet));
  return issues.slice(0, ISSUE_COUNT_MAX);
}

function dangling(pointer: string, detail: string): Issue {
  return { pointer, code: 'dangling-reference', detail };
}

function findMissingSegments(
  definition: FlagDefinition | SegmentDefinition,
  folder: '/flags' | '/segments',
  flagSet: FlagSet,
): Issue[] {
  return segmentReferencesOf(definition)
    .filter(({ segment }) => !flagSet.segments.has(segment))
    .map(({ segment, pointer }) =>
      dangling(`${pointerTo(folder, definition.key)}${pointer}`, `there is no segment ${segment}`),
    );
}

/** An unservable flag may have variations that this evaluator cannot read. */
function checkPrerequisiteVariations(flagSet: FlagSet): Issue[] {
  const issues: Issue[] = [];
  for (const flag of flagSet.flags.values()) {
    for (const [index, prerequisite] of flag.prerequisites.entries()) {
      const required = flagSet.flags.get(prerequisite.flag);
      if (required === undefined || !isServable(required)) continue;
      for (const [variationIndex, variation] of prerequisite.variations.entries()) {
        if (required.variations.some(({ key }) => key === variation)) continue;
        const pointer = `${pointerTo('/flags', flag.key)}/prerequisites/${index}/variations/${variationIndex}`;
        issues.push(dangling(pointer, `the flag ${required.key} has no variation ${variation}`));
      }
    }
  }
  return issues;
}

/** Most flags name no other: they need no place in it. */
function flagGraph(flagSet: FlagSet): ReferenceGraph {
  const graph = new Map<string, string[]>();
  for (const { key, prerequisites } of flagSet.flags.values()) {
    if (prerequisites.length === 0) continue;
    graph.set(
      key,
      prerequisites.map(({ flag }) => flag).filter((flag) => flagSet.flags.has(flag)),
    );
  }
  return graph;
}

function segmentGraph(flagSet: FlagSet): ReferenceGraph {
  const graph = new Map<string, string[]>();
  for (const segment of flagSet.segments.values()) {
    const named = new Set(segmentReferencesOf(segment).map((reference) => reference.segment));
    graph.set(
      segment.key,
      [...named].filter((key) => flagSet.segments.has(key)),
    );
  }
  return graph;
}

function checkCounts(flagSet: FlagSet): Issue[] {
  const issues: Issue[] = [];
  const { flagsPerEnvironment, segmentsPerEnvironment, segmentKeys } = LIMITS;
  if (flagSet.flags.size > flagsPerEnvironment) {
    issues.push(overLimit('/flags', `an environment has at most ${flagsPerEnvironment} flags`));
  }
  if (flagSet.segments.size > segmentsPerEnvironment) {
    issues.push(overLimit('/segments', `an environment has at most ${segmentsPerEnvironment} segments`));
  }
  const keyCounts = new Map<string, number>();
  for (const { segment, keys } of flagSet.segmentKeys.values()) {
    keyCounts.set(segment, (keyCounts.get(segment) ?? 0) + keys.length);
  }
  for (const [segment, keyCount] of keyCounts) {
    if (keyCount <= segmentKeys) continue;
    issues.push(overLimit(pointerTo('/segments', segment), `a segment has at most ${segmentKeys} keys in its lists`));
  }
  return issues;
}

function overLimit(pointer: string, detail: string): Issue {
  return { pointer, code: 'limit-exceeded', detail };
}

function chunkPointer({ segment, list, contextKind, prefix }: SegmentKeysDefinition): string {
  return [list, contextKind, prefix].reduce(pointerTo, pointerTo('/segments', segment));
}

function checkChunks(flagSet: FlagSet, changed: ReadonlySet<Definition> | undefined): Issue[] {
  const issues: Issue[] = [];
  const lists = new Map<string, SegmentKeysDefinition[]>();
  for (const chunk of flagSet.segmentKeys.values()) {
    const { segment, list, contextKind } = chunk;
    if (!flagSet.segments.has(segment)) {
      issues.push(dangling(chunkPointer(chunk), `keys of a segment ${segment} that does not exist`));
    }
    const name = `${segment}/${list}/${contextKind}`;
    const chunks = lists.get(name) ?? [];
    lists.set(name, chunks);
    chunks.push(chunk);
    if (changed === undefined || changed.has(chunk)) issues.push(...findStrayKey(chunk));
  }
  for (const chunks of lists.values()) issues.push(...checkPrefixes(chunks));
  return issues;
}

/** The chunks of one list are leaves of a trie: sorted, a prefix of another stands right before one that it begins. */
function checkPrefixes(chunks: readonly SegmentKeysDefinition[]): Issue[] {
  const sorted = [...chunks].sort((a, b) => (a.prefix < b.prefix ? -1 : 1));
  const issues: Issue[] = [];
  for (const [index, chunk] of sorted.entries()) {
    const previous = sorted[index - 1];
    if (previous === undefined || !chunk.prefix.startsWith(previous.prefix)) continue;
    const detail = `the chunk with prefix "${previous.prefix}" covers this one`;
    issues.push({ pointer: chunkPointer(chunk), code: 'validation-failed', detail });
  }
  return issues;
}

/** The first key whose hash does not start with the chunk's prefix: look-ups would not find it. */
function findStrayKey(chunk: SegmentKeysDefinition): Issue[] {
  const { prefix, keys } = chunk;
  if (prefix === '') return [];
  const expected = Number.parseInt(prefix, 2);
  const index = keys.findIndex((key) => hashText(key) >>> (32 - prefix.length) !== expected);
  if (index < 0) return [];
  const detail = `the hash of this key does not start with the prefix ${prefix}`;
  return [{ pointer: `${chunkPointer(chunk)}/keys/${index}`, code: 'validation-failed', detail }];
}
